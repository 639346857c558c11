"""Writes the generated parts of the pages: the tables of providers and the tree of errors, from the code itself.

python docs/update.py            rewrites what is out of date
python docs/update.py --check    changes nothing; fails when something is (the tests do this)
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import unified_llm.errors
from unified_llm import PROVIDER_CONFIGS, ProviderConfig

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))
from support import proof_list, support_table  # noqa: E402  # its folder is no package


def provider_table() -> str:
    """One row per registered provider, in their order."""
    rows = [_provider_row(name, config) for name, config in PROVIDER_CONFIGS.items()]
    return "\n".join(["| name | talks to | key variables | address |", "|---|---|---|---|", *rows])


def _provider_row(name: str, config: ProviderConfig) -> str:
    keys = " or ".join(f"`{variable}`" for variable in config.env) or "none"
    if not config.needs_key and config.env:
        keys += " (optional)"
    return f"| `{name}` | {config.description} | {keys} | {_address(config)} |"


def _address(config: ProviderConfig) -> str:
    if config.base_url:
        return f"`{config.base_url}`"
    return f"`base_url=` or `{config.base_url_env}`" if config.base_url_env else "this process"


def error_tree() -> str:
    """The tree at the top of `unified_llm.errors`."""
    text = unified_llm.errors.__doc__ or ""
    return f"```text\n{text[text.index('UnifiedLLMError' + chr(10)) :].strip()}\n```"


GENERATED: dict[str, dict[str, Callable[[], str]]] = {
    "providers.md": {"providers": provider_table},
    "errors.md": {"errors": error_tree},
    "support.md": {"support": support_table, "proofs": proof_list},
}


def updated(text: str, name: str, part: str) -> str:
    """`text` with what stands between the marks of `name` replaced by `part`."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise SystemExit(f"the marks of {name!r} must be there once")
    return pattern.sub(lambda _: f"{begin}\n{part}\n{end}", text)


def main(check: bool) -> int:
    stale = []
    for page, parts in GENERATED.items():
        old = new = (DOCS / page).read_text(encoding="utf-8")
        for name, make in parts.items():
            new = updated(new, name, make())
        if new != old:
            stale.append(page)
            if not check:
                (DOCS / page).write_text(new, encoding="utf-8")
    for page in stale:
        sys.stdout.write(f"docs/{page} {'is out of date: run python docs/update.py' if check else 'updated'}\n")
    return int(bool(stale) and check)


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
