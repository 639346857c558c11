"""The command line. Without a command it serves: over standard input and output, or over HTTP with ``--http``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unified_llm.errors import ConfigurationError, UnifiedLLMError
from unified_llm_mcp import __version__
from unified_llm_mcp.settings import TOOL_NAMES, Settings

if TYPE_CHECKING:
    from unified_llm_mcp.http import HttpSettings
    from unified_llm_mcp.oauth import OAuthResource

__all__ = ["check_server_arguments", "main"]

TOKEN_VARIABLE = "UNIFIED_LLM_MCP_TOKEN"  # noqa: S105  # its name, not its value
_SETTINGS = (
    "model", "embed_model", "max_wait", "max_tokens", "max_output_chars", "max_spend_usd", "calls_per_minute",
    "max_concurrency", "timeout", "heartbeat", "conversation_ttl", "result_ttl", "max_attachment_bytes",
)  # fmt: skip
_HTTP_OPTIONS = (
    "host", "port", "path", "token_file", "allowed_host", "allowed_origin", "oauth_issuer", "oauth_jwks",
    "oauth_resource", "oauth_scope", "max_body_bytes",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0, 2 for wrong arguments, 128 plus the number of a signal."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        if given and given[0] in ("install", "check"):
            from unified_llm_mcp.commands import COMMANDS

            return COMMANDS[given[0]](given[1:])
        parser = _parser()
        arguments = parser.parse_args(given)
        if arguments.http:
            return _serve_http(arguments)
        _refuse_http_options(parser, arguments)
        return _serve_stdio(arguments)
    except UnifiedLLMError as error:
        print(error, file=sys.stderr)  # noqa: T201  # a command talks to its user
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unified-llm-mcp",
        description="MCP server: any language model as tools, over standard input and output or streamable HTTP.",
        epilog="commands: `unified-llm-mcp install --help` adds it to a client; `unified-llm-mcp check` tries it.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--log-level", default="warning", choices=["debug", "info", "warning", "error"])
    _add_model_options(parser.add_argument_group("models"))
    _add_limit_options(parser.add_argument_group("limits"))
    _add_http_options(parser.add_argument_group("HTTP"))
    return parser


def check_server_arguments(given: Sequence[str]) -> Settings:
    """What a client would start the server with. Raises `ConfigurationError`; argparse ends the process."""
    parser = _parser()
    arguments = parser.parse_args(list(given))
    if arguments.http:
        raise ConfigurationError("a client that starts the server speaks to it without HTTP", hint="leave out --http")
    _refuse_http_options(parser, arguments)
    return _settings(arguments)


def _add_model_options(group: Any) -> None:
    group.add_argument("--model", help="provider:model used when a chat names none")
    group.add_argument("--embed-model", help="provider:model used when an embedding names none")
    group.add_argument("--tools", help=f"comma-separated names of the tools to offer (all: {','.join(TOOL_NAMES)})")
    group.add_argument(
        "--allow-dir",
        action="append",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="folder attachments may come from; repeatable; none by default",
    )


def _add_limit_options(group: Any) -> None:
    group.add_argument("--max-wait", type=float, metavar="S", help="seconds until a handle is returned (50; 0: never)")
    group.add_argument("--max-tokens", type=int, metavar="N", help="most output tokens of one chat")
    group.add_argument("--max-output-chars", type=int, metavar="N", help="characters of an answer in a result (100000)")
    group.add_argument(
        "--max-spend",
        type=float,
        dest="max_spend_usd",
        metavar="USD",
        help="most spending: calls that may exceed it are refused",
    )
    group.add_argument("--calls-per-minute", type=int, metavar="N", help="tool calls of one caller (600)")
    group.add_argument("--max-concurrency", type=int, metavar="N", help="calls to models at the same time (64)")
    group.add_argument("--heartbeat", type=float, metavar="S", help="seconds of silence until an empty progress (5)")
    group.add_argument(
        "--conversation-ttl", type=float, metavar="S", help="seconds a conversation lives unused (86400)"
    )
    group.add_argument("--result-ttl", type=float, metavar="S", help="seconds a kept answer lives unused (3600)")
    group.add_argument(
        "--max-attachment-bytes", type=int, metavar="N", help="size of the attachments of a call (20971520)"
    )
    group.add_argument("--timeout", type=float, metavar="S", help="seconds without progress before a call fails")


def _add_http_options(group: Any) -> None:
    group.add_argument("--http", action="store_true", help="serve streamable HTTP instead of standard input and output")
    group.add_argument("--host", default="127.0.0.1", help="address to bind (127.0.0.1)")
    group.add_argument("--port", type=int, default=8765, help="port to bind (8765; 0: a free one)")
    group.add_argument("--path", default="/mcp", help="path of the endpoint (/mcp)")
    group.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"bearer tokens, TOKEN or NAME TOKEN on each line; one token may also be in {TOKEN_VARIABLE}",
    )
    group.add_argument(
        "--max-body-bytes", type=int, default=4 * 1024 * 1024, metavar="N", help="size of a request (4194304)"
    )
    group.add_argument("--allowed-host", action="append", default=[], metavar="HOST", help="value of the Host header")
    group.add_argument("--allowed-origin", action="append", default=[], metavar="URL", help="value of Origin")
    group.add_argument("--oauth-issuer", metavar="URL", help="OAuth authorization server whose tokens are accepted")
    group.add_argument("--oauth-jwks", metavar="URL", help="where its keys are")
    group.add_argument("--oauth-resource", metavar="URL", help="URL of this server, for which tokens are issued")
    group.add_argument("--oauth-scope", action="append", default=[], metavar="NAME", help="scope a token must have")


def _refuse_http_options(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Options of HTTP without it would do nothing: whoever passes a token file wants it to count."""
    given = [name for name in _HTTP_OPTIONS if getattr(arguments, name) != parser.get_default(name)]
    if given:
        raise ConfigurationError(f"--{given[0].replace('_', '-')} is for HTTP", hint="pass --http too, or leave it out")


def _settings(arguments: argparse.Namespace) -> Settings:
    given = {name: value for name in _SETTINGS if (value := getattr(arguments, name)) is not None}
    if arguments.tools is not None:
        given["tools"] = tuple(name.strip() for name in arguments.tools.split(",") if name.strip())
    return Settings(allow_dirs=tuple(arguments.allow_dir), **given)


def _serve_stdio(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from unified_llm_mcp.wire import claim_wire

    wire = claim_wire()  # before anything is imported that might print
    from unified_llm_mcp.log import configure_logging

    configure_logging(arguments.log_level)
    from unified_llm_mcp.process import run_until_signal
    from unified_llm_mcp.server import build_server
    from unified_llm_mcp.stdio import serve_stdio

    server = build_server(settings=settings)
    return run_until_signal(server, serve_stdio(server, wire))


def _serve_http(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    http, oauth = _http_settings(arguments), _oauth(arguments)
    from unified_llm_mcp.log import configure_logging

    configure_logging(arguments.log_level)
    from unified_llm_mcp.http import serve_http
    from unified_llm_mcp.server import build_server

    return serve_http(build_server(settings=settings, oauth=oauth), http, arguments.log_level)


def _http_settings(arguments: argparse.Namespace) -> HttpSettings:
    from unified_llm_mcp.http import HttpSettings, read_tokens

    return HttpSettings(
        host=arguments.host,
        port=arguments.port,
        path=arguments.path,
        tokens=read_tokens(os.environ.get(TOKEN_VARIABLE), arguments.token_file),
        oauth=bool(arguments.oauth_issuer),
        allowed_hosts=tuple(arguments.allowed_host),
        allowed_origins=tuple(arguments.allowed_origin),
        max_body_bytes=arguments.max_body_bytes,
    )


def _oauth(arguments: argparse.Namespace) -> OAuthResource | None:
    given = (arguments.oauth_issuer, arguments.oauth_jwks, arguments.oauth_resource)
    if not any(given) and not arguments.oauth_scope:
        return None
    if not all(given):
        raise ConfigurationError(
            "OAuth needs --oauth-issuer, --oauth-jwks and --oauth-resource",
            hint="pass all three of them, or none of the options of OAuth",
        )
    from unified_llm_mcp.oauth import JWTVerifier, OAuthResource

    issuer, jwks, resource = given
    verifier = JWTVerifier(issuer=issuer, audience=resource, jwks_url=jwks)
    return OAuthResource(issuer=issuer, resource=resource, verifier=verifier, scopes=tuple(arguments.oauth_scope))
