"""Entry point of the bundle."""

import sys

from unified_llm_mcp import main

if __name__ == "__main__":
    sys.exit(main())
