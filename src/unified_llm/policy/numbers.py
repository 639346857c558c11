"""Numbers of policies, checked where they are given: a text, a NaN or half a retry would fail later, and elsewhere."""

from __future__ import annotations

import math

from unified_llm.errors import InvalidRequestError, brief

__all__ = ["check_number", "number_problem"]


def check_number(
    name: str,
    value: object,
    *,
    hint: str,
    least: float | None = None,
    above: float | None = None,
    whole: bool = False,
    finite: bool = False,
) -> None:
    """Raise `InvalidRequestError` unless `value` is such a number; see `number_problem`."""
    problem = number_problem(value, least=least, above=above, whole=whole, finite=finite)
    if problem is not None:
        raise InvalidRequestError(f"{name} must be {problem}, and is {brief(value) or type(value).__name__}", hint=hint)


def number_problem(
    value: object,
    *,
    least: float | None = None,
    above: float | None = None,
    whole: bool = False,
    finite: bool = False,
) -> str | None:
    """What `value` should be and is not, such as "a whole number"; None when all is well.

    Args:
        least: the smallest it may be. above: what it must be more than.
        whole: no fraction. finite: no infinity. True, False and NaN are no numbers here.
    """
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or math.isnan(value):
        return "a whole number" if whole else "a number"
    if least is not None and value < least:
        return f"{'a whole number of ' if whole else ''}at least {least:g}"
    if above is not None and value <= above:
        return f"more than {above:g}"
    return "finite" if finite and math.isinf(value) else None
