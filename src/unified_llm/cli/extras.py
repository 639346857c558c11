"""Which optional packages are installed, read from the package's own metadata."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from typing import Any

__all__ = ["Extra", "extras"]

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+).*extra == ['\"](?P<extra>[^'\"]+)['\"]")


@dataclass(frozen=True, slots=True)
class Extra:
    """An extra and the version of each of its packages; None for one that is not installed."""

    name: str
    packages: dict[str, str | None]

    @property
    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name, version in self.packages.items() if version is None]

    @property
    def command(self) -> str:
        """What installs it."""
        return f'pip install "unified-llm[{self.name}]"'

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        install = {"install": self.command} if self.missing else {}
        return {"extra": self.name, "installed": not self.missing, "packages": self.packages, **install}


def extras() -> list[Extra]:
    """Every extra but ``all``; empty when the package runs from a folder without being installed."""
    try:
        requirements = metadata.requires("unified-llm") or []
    except metadata.PackageNotFoundError:
        return []
    found: dict[str, dict[str, str | None]] = {}
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match and match["extra"] != "all":
            found.setdefault(match["extra"], {})[match["name"]] = _version(match["name"])
    return [Extra(name, packages) for name, packages in found.items()]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
