"""``python -m unified_llm_mcp``: the same as the console script."""

import sys

from unified_llm_mcp import main

if __name__ == "__main__":
    sys.exit(main())
