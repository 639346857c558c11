"""Checks one value against one schema and ends: a process of its own, which can be stopped at any time.

Reads ``{"schema": ..., "value": ...}`` from standard input; writes ``{"problem": [path, reason] or null}``, or
``{"unchecked": reason}`` when the schema is one that the library does not check.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from unified_llm.errors import InvalidRequestError
from unified_llm.schema_problems import problem

__all__ = ["verdict"]


def verdict(schema: dict[str, Any], value: Any) -> dict[str, Any]:
    """What is written."""
    try:
        return {"problem": problem(schema, value)}
    except InvalidRequestError as error:
        return {"unchecked": error.message}
    except (TypeError, AttributeError, ValueError, RecursionError) as error:
        return {"unchecked": f"the schema is none: {error}"}


if __name__ == "__main__":
    given = json.load(sys.stdin)
    json.dump(verdict(given["schema"], given["value"]), sys.stdout)
