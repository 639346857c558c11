"""What ``--schema`` and ``--tools`` point to: JSON, files of Python, and ``package.module:name``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from unified_llm.errors import InvalidRequestError
from unified_llm.tools import Tool, normalize_tool, normalize_tools

__all__ = ["load_schema", "load_tools"]

_SCHEMA_FORMS = "give a JSON file, inline JSON, or package.module:PydanticClass"
_TOOL_FORMS = "give package.module:function or FILE.py[:function]"
_REFERENCE = re.compile(r"(?P<module>[A-Za-z_][\w.]*|.+\.py)(?::(?P<name>[A-Za-z_][\w.]*))?")


def load_schema(text: str) -> Any:
    """The `response_format` of ``--schema``: a dictionary, a class, or ``"json"`` for any JSON object.

    Raises:
        InvalidRequestError: no schema is there.
    """
    if text.strip() in ("json", "json_object"):
        return "json"
    if text.lstrip().startswith("{"):
        return _json_schema(text, "the inline schema")
    path = Path(text).expanduser()
    if path.suffix.lower() == ".json" or (path.suffix != ".py" and path.is_file()):
        return _json_schema(_read(path), text)
    module, name = _module_of(text, _SCHEMA_FORMS)
    if name is None:
        raise InvalidRequestError(f"--schema {text} names no class", hint=_SCHEMA_FORMS)
    value = _attribute(module, name, text)
    if isinstance(value, (type, dict)):
        return value
    raise InvalidRequestError(f"{text} is {type(value).__name__}, not a class or a JSON Schema", hint=_SCHEMA_FORMS)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise InvalidRequestError(f"cannot read {path}: {reason}", hint=_SCHEMA_FORMS) from exc


def _json_schema(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as exc:
        raise InvalidRequestError(
            f"{where} is not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}", hint=_SCHEMA_FORMS
        ) from exc
    if not isinstance(value, dict):
        raise InvalidRequestError(f"{where} is a JSON {type(value).__name__}, not an object", hint=_SCHEMA_FORMS)
    return value


def load_tools(references: Iterable[str]) -> tuple[Tool, ...]:
    """The tools of ``--tools``, each with its function.

    A module or file without a name gives every public function defined in it (those in ``__all__`` when it has one).

    Raises:
        InvalidRequestError: nothing that can be called is there, or two tools share a name.
    """
    return normalize_tools([tool for reference in references for tool in _tools_of(reference)])


def _tools_of(reference: str) -> list[Tool]:
    module, name = _module_of(reference, _TOOL_FORMS)
    found = [_attribute(module, name, reference)] if name else _public_functions(module)
    if not found:
        raise InvalidRequestError(f"{reference} defines no public function", hint=_TOOL_FORMS)
    return [_tool(value, reference) for value in found]


def _tool(value: Any, reference: str) -> Tool:
    tool = normalize_tool(value) if isinstance(value, Tool) or inspect.isroutine(value) else None
    if tool is None or tool.function is None:
        raise InvalidRequestError(
            f"{reference} is {type(value).__name__}: there is nothing to run", hint="give a function"
        )
    return tool


def _public_functions(module: ModuleType) -> list[Any]:
    names = getattr(module, "__all__", None)
    values = vars(module)
    if names is not None:
        return [
            values[n] for n in names if n in values and (inspect.isfunction(values[n]) or isinstance(values[n], Tool))
        ]
    return [
        value
        for name, value in values.items()
        if not name.startswith("_")
        and (isinstance(value, Tool) or (inspect.isfunction(value) and value.__module__ == module.__name__))
    ]


def _module_of(reference: str, forms: str) -> tuple[ModuleType, str | None]:
    """Import what `reference` names: the module, and the name after the colon."""
    match = _REFERENCE.fullmatch(reference.strip())
    if match is None:
        raise InvalidRequestError(f"{reference!r} is not understood", hint=forms)
    where = match["module"]
    if where.endswith(".py"):
        return _import_file(Path(where).expanduser(), reference), match["name"]
    return _import_module(where, reference, forms), match["name"]


def _import_file(path: Path, reference: str) -> ModuleType:
    if not path.is_file():
        raise InvalidRequestError(f"there is no file {path}", hint="check the path")
    name = f"unified_llm_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidRequestError(f"{path} cannot be imported", hint="give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic and dataclasses look their own module up
    try:
        spec.loader.exec_module(module)
    except Exception as exc:
        raise _broken(reference, exc) from exc
    return module


def _import_module(name: str, reference: str, forms: str) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:  # a console script, unlike `python -m`, does not look in the working directory
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name and (name == exc.name or name.startswith(f"{exc.name}.")):
            raise InvalidRequestError(f"there is no module {exc.name!r} ({reference})", hint=forms) from exc
        raise _broken(reference, exc) from exc
    except Exception as exc:
        raise _broken(reference, exc) from exc


def _broken(reference: str, exc: Exception) -> InvalidRequestError:
    return InvalidRequestError(
        f"importing {reference} failed: {type(exc).__name__}: {exc}", hint="--debug shows where it happened"
    )


def _attribute(module: ModuleType, name: str, reference: str) -> Any:
    value: Any = module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            from unified_llm.requests import nearest

            guess = nearest(part, [n for n in vars(module) if not n.startswith("_")])
            raise InvalidRequestError(f"{module.__name__} has no {name!r} ({reference})", hint=guess or None) from None
    return value
