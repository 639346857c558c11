"""What the package ships besides code: snippets, server.json, the bundle's manifest; and the size of the schemas."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

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


def closed(required: list[str], /, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


TEXT = {"type": "string", "minLength": 1}
VARIABLE = closed(
    ["name"], name={"pattern": "^[A-Z][A-Z0-9_]*$"}, description=TEXT, isSecret={"type": "boolean"},
    isRequired={"type": "boolean"},
)  # fmt: skip
ARGUMENT = closed(
    ["type", "name"], type={"const": "named"}, name={"pattern": "^--[a-z-]+$"}, description=TEXT,
    format={"enum": ["string", "number", "boolean", "filepath"]}, isRequired={"type": "boolean"},
    isRepeated={"type": "boolean"},
)  # fmt: skip
# The rules of https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json for the fields used here.
SERVER_JSON = closed(
    ["$schema", "name", "description", "version", "packages"],
    **{"$schema": {"const": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"}},
    name={"type": "string", "pattern": "^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$", "minLength": 3, "maxLength": 200},
    title={"type": "string", "minLength": 1, "maxLength": 100},
    description={"type": "string", "minLength": 1, "maxLength": 100},
    version={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    packages={
        "type": "array",
        "items": closed(
            ["registryType", "identifier", "version", "transport"],
            registryType={"const": "pypi"},
            identifier=TEXT,
            version={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
            runtimeHint={"const": "uvx"},
            transport=closed(["type"], type={"const": "stdio"}),
            packageArguments={"type": "array", "items": ARGUMENT},
            environmentVariables={"type": "array", "items": VARIABLE},
        ),
    },
)
# The rules of mcpb-manifest-v0.4.schema.json (github.com/anthropics/mcpb, schemas/) for the fields used here.
MANIFEST = closed(
    ["manifest_version", "name", "version", "description", "author", "server"],
    manifest_version={"const": "0.4"},
    name=TEXT, display_name=TEXT, version=TEXT, description=TEXT, license=TEXT,
    author=closed(["name"], name=TEXT),
    keywords={"type": "array", "items": TEXT},
    server=closed(
        ["type", "entry_point", "mcp_config"],
        type={"const": "uv"},
        entry_point=TEXT,
        mcp_config=closed(
            ["command"], command=TEXT, args={"type": "array", "items": TEXT},
            env={"type": "object", "additionalProperties": TEXT},
        ),
    ),
    tools={"type": "array", "items": closed(["name"], name=TEXT, description=TEXT)},
    user_config={
        "type": "object",
        "additionalProperties": closed(
            ["type", "title", "description"], type={"enum": ["string", "number", "boolean", "directory", "file"]},
            title=TEXT, description=TEXT, required={"type": "boolean"}, default={"type": "string"},
            sensitive={"type": "boolean"},
        ),
    },
    compatibility=closed([], platforms={"type": "array"}, runtimes=closed([], python=TEXT)),
)  # fmt: skip


def test_the_readme_names_the_server_for_the_registry() -> None:
    assert f"<!-- mcp-name: {loaded('server.json')['name']} -->" in README


def test_server_json_follows_the_registrys_schema_and_this_version() -> None:
    described = loaded("server.json")
    Draft202012Validator(SERVER_JSON).validate(described)
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


def test_the_bundles_manifest_follows_its_schema_and_this_version() -> None:
    manifest = loaded("mcpb/manifest.json")
    Draft202012Validator(MANIFEST).validate(manifest)
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
    assert {"claude", "lmstudio"} <= extras
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
