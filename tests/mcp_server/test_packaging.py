"""What the package ships besides code: snippets, server.json, the bundle's manifest; and the size of the schemas."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from testkit.mcp_clients import in_memory
from unified_llm import FinishReason, UnifiedLLM
from unified_llm.providers.registry import PROVIDER_CONFIGS
from unified_llm_mcp import Settings, __version__, build_server
from unified_llm_mcp.clients import CLIENTS
from unified_llm_mcp.results import FINISH_REASONS
from unified_llm_mcp.settings import TOOL_NAMES

MEMBER = Path(__file__).parents[2] / "mcp_server"
README = (MEMBER / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def loaded(path: str) -> Any:
    return json.loads((MEMBER / path).read_text(encoding="utf-8"))


SCHEMAS = Path(__file__).parent / "schemas"
PUBLISHED = {"server.json": "server.schema.json", "mcpb/manifest.json": "mcpb-manifest-v0.4.schema.json"}
"""What we publish, and the official schema for it."""


def schema_of(path: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SCHEMAS / PUBLISHED[path]).read_text(encoding="utf-8"))
    return schema


def problems(path: str, document: Any) -> list[str]:
    """What is wrong with a document, by its official schema and by what that schema leaves to the reader."""
    schema = schema_of(path)
    found = [error.message for error in Draft7Validator(schema).iter_errors(document)]
    # The registry's schema lets fields of any name through: a misspelt one would be ignored.
    found += [f"{key!r} is no field of the schema" for key in sorted(keys(document) - property_names(schema))]
    # "Version ranges are rejected", says its text; and the registry does.
    if not re.fullmatch(r"\d+\.\d+\.\d+", str(document["version"])):
        found.append(f"{document['version']!r} is no version")
    return found


def property_names(schema: Any) -> set[str]:
    return {name for part in walk(schema) if isinstance(part.get("properties"), dict) for name in part["properties"]}


def keys(document: Any) -> set[str]:
    """The field names in a document; names that its author gives (variables, settings) are none of the schema's."""
    free = ("env", "user_config")
    if isinstance(document, list):
        return {found for one in document for found in keys(one)}
    if not isinstance(document, dict):
        return set()
    inner = [list(value.values()) if key in free else value for key, value in document.items()]
    return set(document) | keys(inner)


def test_the_official_schemas_are_as_they_were_published() -> None:
    table = (SCHEMAS / "README.md").read_text(encoding="utf-8")
    for name in PUBLISHED.values():
        checksum = hashlib.sha256((SCHEMAS / name).read_bytes()).hexdigest()
        assert re.search(rf"^\| `{re.escape(name)}` .*\| {checksum} \|$", table, re.MULTILINE), name
    assert loaded("server.json")["$schema"] == schema_of("server.json")["$id"]
    assert PUBLISHED["mcpb/manifest.json"].startswith(
        f"mcpb-manifest-v{loaded('mcpb/manifest.json')['manifest_version']}."
    )


@pytest.mark.parametrize("path", PUBLISHED)
def test_what_is_published_follows_its_official_schema(path: str) -> None:
    Draft7Validator.check_schema(schema_of(path))
    assert problems(path, loaded(path)) == []


MISTAKES: list[tuple[str, tuple[str | int, ...], Any]] = [
    ("server.json", ("name",), "unified-llm"),
    ("server.json", ("name",), "io.github.unified-llm/unified-llm/mcp"),
    ("server.json", ("description",), "x" * 101),
    ("server.json", ("version",), ">=1.0"),
    ("server.json", ("packages", 0, "version"), "latest"),
    ("server.json", ("packages", 0, "transport"), {"type": "pipe"}),
    ("server.json", ("packages", 0, "packageArguments", 0, "type"), "flag"),
    ("server.json", ("packages", 0, "packageArguments", 0, "format"), "text"),
    ("server.json", ("packages", 0, "environmentVariables", 0, "isSecret"), "yes"),
    ("server.json", ("packages", 0, "environmentVariables", 0, "secret"), True),
    ("mcpb/manifest.json", ("manifest_version",), "0.9"),
    ("mcpb/manifest.json", ("version",), "1.x"),
    ("mcpb/manifest.json", ("author",), "The unified-llm authors"),
    ("mcpb/manifest.json", ("server", "type"), "pip"),
    ("mcpb/manifest.json", ("server", "mcp_config", "args"), "run"),
    ("mcpb/manifest.json", ("tools", 0, "inputSchema"), {}),
    ("mcpb/manifest.json", ("user_config", "model", "type"), "text"),
    ("mcpb/manifest.json", ("user_config", "model", "secret"), True),
    ("mcpb/manifest.json", ("compatibility", "platforms"), ["windows"]),
]


@pytest.mark.parametrize(("path", "where", "value"), MISTAKES)
def test_a_mistake_in_what_is_published_is_found(path: str, where: tuple[str | int, ...], value: Any) -> None:
    document = loaded(path)
    part = document
    for step in where[:-1]:
        part = part[step]
    part[where[-1]] = value
    assert problems(path, document)


@pytest.mark.parametrize("path", PUBLISHED)
def test_a_required_field_that_is_missing_is_found(path: str) -> None:
    schema = schema_of(path)
    required = schema.get("required") or schema["definitions"]["ServerDetail"]["required"]
    assert "name" in required
    for field in set(required) - {"version"}:
        document = loaded(path)
        del document[field]
        assert problems(path, document), field


def test_the_readme_names_the_server_for_the_registry() -> None:
    assert f"<!-- mcp-name: {loaded('server.json')['name']} -->" in README


def test_server_json_names_this_package_and_version() -> None:
    described = loaded("server.json")
    assert described["version"] == described["packages"][0]["version"] == __version__
    project = tomllib.loads((MEMBER / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert described["packages"][0]["identifier"] == project["name"]
    assert project["version"] == __version__


def test_the_variables_and_options_of_server_json_exist() -> None:
    package = loaded("server.json")["packages"][0]
    known = {name for config in PROVIDER_CONFIGS.values() for name in (*config.env, config.base_url_env)}
    for variable in package["environmentVariables"]:
        assert variable["name"] in known | {"UNIFIED_LLM_PROVIDER", "UNIFIED_LLM_MODEL"}
        assert variable.get("isSecret", False) == variable["name"].endswith("_KEY")
    help_text = (MEMBER / "src" / "unified_llm_mcp" / "cli.py").read_text(encoding="utf-8")
    for argument in package["packageArguments"]:
        assert f'"{argument["name"]}"' in help_text


def test_the_bundles_manifest_names_this_version_its_tools_and_what_it_starts() -> None:
    manifest = loaded("mcpb/manifest.json")
    assert manifest["version"] == __version__
    assert [tool["name"] for tool in manifest["tools"]] == list(TOOL_NAMES)
    assert (MEMBER / "mcpb" / manifest["server"]["entry_point"]).is_file()
    bundle = tomllib.loads((MEMBER / "mcpb" / "pyproject.toml").read_text(encoding="utf-8"))
    assert bundle["project"]["dependencies"] == [f"unified-llm-mcp=={__version__}"]


def test_every_value_the_bundle_passes_on_is_asked_for_and_keys_are_secret() -> None:
    manifest = loaded("mcpb/manifest.json")
    passed = re.findall(r"\$\{user_config\.(\w+)\}", json.dumps(manifest["server"]))
    assert sorted(passed) == sorted(manifest["user_config"])
    for name, asked in manifest["user_config"].items():
        assert asked.get("sensitive", False) == name.endswith("_key")


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_the_snippets_of_the_readme_are_entries_clients_take(snippet: str) -> None:
    config = json.loads(snippet)
    key = next(key for key in ("mcpServers", "servers") if key in config)
    assert key in {client.key for client in CLIENTS.values()}
    ((name, server),) = config[key].items()
    assert name == "llm"  # Cursor takes 60 characters for server and tool together
    assert (server["command"], server["args"][0]) == ("uvx", "unified-llm-mcp")
    assert server.get("type", "stdio") == "stdio"
    asked = re.findall(r"\$\{input:(\w+)\}", snippet)
    assert asked == [one["id"] for one in config.get("inputs", [])]


def test_what_uvx_installs_reaches_the_models_the_readme_names() -> None:
    # The snippets say `uvx unified-llm-mcp`, which installs the dependencies and no extra.
    project = tomllib.loads((MEMBER / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = next(text for text in project["dependencies"] if text.startswith("unified-llm["))
    extras = set(core.partition("[")[2].partition("]")[0].split(","))
    assert {"claude", "lmstudio", "prices"} <= extras
    assert "[local]" in README  # what it does not install, and how to have it


def test_there_is_a_snippet_for_each_kind_of_client() -> None:
    assert len(SNIPPETS) == 3
    for client in CLIENTS.values():
        assert client.title in README


def walk(schema: Any) -> list[dict[str, Any]]:
    """Every object inside a schema, the schema itself included."""
    if isinstance(schema, list):
        return [found for one in schema for found in walk(one)]
    return [schema, *(found for one in schema.values() for found in walk(one))] if isinstance(schema, dict) else []


async def test_tools_fit_into_a_thousand_tokens_and_into_every_clients_rules() -> None:
    async with in_memory(build_server(UnifiedLLM(model="offline:"))) as client:
        tools = await client.tools()
    assert [tool["name"] for tool in tools] == list(TOOL_NAMES)
    visible = [{key: tool[key] for key in ("name", "description", "inputSchema")} for tool in tools]
    assert len(json.dumps(visible)) < 4000  # four bytes a token
    for tool in tools:
        Draft202012Validator.check_schema(tool["inputSchema"])
        Draft202012Validator.check_schema(tool["outputSchema"])
        assert tool["inputSchema"]["type"] == tool["outputSchema"]["type"] == "object"
        assert tool["inputSchema"]["additionalProperties"] is False
        assert len(f"mcp__llm__{tool['name']}") <= 60
        for part in walk(tool["inputSchema"]):
            assert not {"$ref", "$defs", "anyOf", "oneOf", "allOf"} & part.keys()
            assert not isinstance(part.get("title"), str)
        for name in tool["inputSchema"]["properties"]:
            assert re.fullmatch("[A-Za-z0-9_.-]{1,64}", name)


async def test_tools_tell_hosts_what_they_may_do_and_how_much_they_say() -> None:
    async with in_memory(build_server(UnifiedLLM(model="offline:"))) as client:
        tools = {tool["name"]: tool for tool in await client.tools()}
    for name, tool in tools.items():
        assert tool["annotations"] == {
            "readOnlyHint": True,  # hosts then ask less: true because nothing outside the server changes
            "destructiveHint": False,
            "idempotentHint": name != "chat",
            "openWorldHint": name != "get_response",
        }
    # Claude Code writes longer results to a file, and does so above 25,000 tokens when nothing is said.
    assert tools["chat"]["_meta"] == {"anthropic/maxResultSizeChars": 500_000}


async def test_lifetimes_in_descriptions_are_those_of_the_settings() -> None:
    settings = Settings(conversation_ttl=1800, result_ttl=7200)
    async with in_memory(build_server(UnifiedLLM(model="offline:"), settings)) as client:
        tools = {tool["name"]: tool for tool in await client.tools()}
    conversation = tools["chat"]["inputSchema"]["properties"]["conversation_id"]["description"]
    assert "kept 30 min" in conversation
    assert "2 h" in tools["get_response"]["description"]


def test_listing_the_tools_loads_neither_the_client_nor_a_provider() -> None:
    code = (
        "import asyncio, sys\n"
        "from unified_llm_mcp import build_server\n"
        "server = build_server()\n"
        "asyncio.run(server.list_tools())\n"
        "asyncio.run(server.list_resources())\n"
        "print([m for m in ('unified_llm.client', 'unified_llm.messages', 'anthropic', 'lmstudio', 'httpcore')\n"
        "       if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, encoding="utf-8").stdout
    assert output == "[]\n"


def test_the_finish_reasons_of_the_schema_are_those_of_the_library() -> None:
    assert [reason.value for reason in FinishReason] == list(FINISH_REASONS)
