"""MCP clients as data: where their configuration is, and how an entry for a server looks in it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unified_llm.errors import ConfigurationError

__all__ = ["CLIENTS", "Client", "Variable", "entry", "server_command"]


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable of the server: its name, and its value or None for "taken from the person later"."""

    name: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """One client.

    Attributes:
        title: how people call it.
        folders: folder of the user's configuration by ``sys.platform``; ``~`` and ``%APPDATA%`` are resolved.
        file: name of the file in it; project_file: path of the project's own file, when the client has one.
        key: name of the object that holds the servers.
        reference: how the client writes "the value of this variable of mine", or None when it cannot.
        typed: whether an entry says ``"type": "stdio"``.
        restart: what makes the client read its configuration again.
    """

    title: str
    folders: Mapping[str, str]
    file: str
    project_file: str | None = None
    key: str = "mcpServers"
    reference: str | None = None
    typed: bool = False
    restart: str = "Restart it."

    def path(self, project: Path | None = None) -> Path:
        """The configuration file: the user's, or that of `project`.

        Raises:
            ConfigurationError: this client has no project files.
        """
        if project is None:
            folder = self.folders.get(sys.platform, self.folders["linux"])
            return _resolved(folder) / self.file
        if self.project_file is None:
            raise ConfigurationError(f"{self.title} has no configuration of a project", hint="leave out --project")
        return project / self.project_file


def _resolved(folder: str) -> Path:
    roaming = os.environ.get("APPDATA") or str(Path.home() / "AppData" / "Roaming")
    return Path(folder.replace("%APPDATA%", roaming)).expanduser()


def _everywhere(folder: str) -> dict[str, str]:
    return dict.fromkeys(("linux", "darwin", "win32"), folder)


CLIENTS: dict[str, Client] = {
    "claude-desktop": Client(
        "Claude Desktop",
        {
            "linux": "~/.config/Claude",
            "darwin": "~/Library/Application Support/Claude",
            "win32": "%APPDATA%/Claude",
        },
        "claude_desktop_config.json",
        restart="Quit Claude Desktop and start it again.",
    ),
    "claude-code": Client(
        "Claude Code",
        _everywhere("~"),
        ".claude.json",
        ".mcp.json",
        reference="${NAME}",
        typed=True,
        restart="Start a new session; /mcp shows the server.",
    ),
    "cursor": Client(
        "Cursor",
        _everywhere("~/.cursor"),
        "mcp.json",
        ".cursor/mcp.json",
        reference="${env:NAME}",
        restart="Reload the window.",
    ),
    "vscode": Client(
        "VS Code",
        {
            "linux": "~/.config/Code/User",
            "darwin": "~/Library/Application Support/Code/User",
            "win32": "%APPDATA%/Code/User",
        },
        "mcp.json",
        ".vscode/mcp.json",
        key="servers",
        reference="${input:NAME}",
        typed=True,
        restart="Start the server with the command MCP: List Servers.",
    ),
    "lmstudio": Client("LM Studio", _everywhere("~/.lmstudio"), "mcp.json", restart="It reads the file by itself."),
}


def server_command(runner: str | None = None) -> list[str]:
    """The command that starts this server: this Python, or uvx when this Python is in uv's cache and may be gone soon.

    Args:
        runner: "python" or "uvx" to choose.

    Paths are absolute: desktop programs often have a PATH of their own.
    """
    short_lived = "uv" in Path(sys.prefix).parts and any(
        part.startswith("archive-v") for part in Path(sys.prefix).parts
    )
    if runner is None:
        runner = "uvx" if short_lived else "python"
    if runner == "uvx":
        return [shutil.which("uvx") or "uvx", "unified-llm-mcp"]
    return [sys.executable, "-m", "unified_llm_mcp"]


def entry(client: Client, command: list[str], variables: list[Variable]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The entry of a server in the client's configuration, and the inputs the client is to ask for (VS Code).

    Raises:
        ConfigurationError: a variable has no value, and this client cannot look it up itself.
    """
    made: dict[str, Any] = {"type": "stdio"} if client.typed else {}
    made |= {"command": command[0], "args": command[1:]}
    environment = {one.name: _value(client, one) for one in variables}
    if environment:
        made["env"] = environment
    inputs = [
        {"type": "promptString", "id": one.name, "description": one.name, "password": True}
        for one in variables
        if one.value is None and client.key == "servers"
    ]
    return made, inputs


def _value(client: Client, variable: Variable) -> str:
    if variable.value is not None:
        return variable.value
    if client.reference is None:
        raise ConfigurationError(
            f"{client.title} cannot look up {variable.name} itself",
            hint=f"pass --env {variable.name}=VALUE (it is then in the file), or keep the key outside: "
            "`unified-llm auth set` stores it where the server finds it",
        )
    return client.reference.replace("NAME", variable.name)
