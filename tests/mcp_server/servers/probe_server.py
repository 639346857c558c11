"""A server process for tests: the real command line, with the probe registered as a provider.

Started as ``python probe_server.py [arguments of unified-llm-mcp]``; PYTHONPATH must hold tests/support.
"""

import os
import sys

from testkit.probe_provider import ProbeProvider
from unified_llm import register_provider
from unified_llm_mcp import main


class NoisyProbe(ProbeProvider):
    """Prints when it is made and while it works, as libraries do."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        print("printed by a constructor")

    async def stream_async(self, request):  # type: ignore[no-untyped-def]  # only adds noise
        print("printed by a provider")
        os.write(1, b"written to file descriptor 1\n")
        async for event in super().stream_async(request):
            yield event


register_provider("probe", NoisyProbe)

if __name__ == "__main__":
    sys.exit(main(["--model", "probe:", *sys.argv[1:]]))
