"""``python -m unified_llm`` is ``unified-llm``."""

from __future__ import annotations

import sys

from unified_llm.cli import main

if __name__ == "__main__":
    sys.exit(main())
