"""Serves `build_server` with the conformance fixtures on a free loopback port, said on standard error."""

import sys

from testkit.mcp_conformance import register
from testkit.probe_provider import ProbeProvider
from unified_llm import UnifiedLLM
from unified_llm_mcp import Settings, build_server
from unified_llm_mcp.http import HttpSettings, serve_http

if __name__ == "__main__":
    server = build_server(UnifiedLLM(provider=ProbeProvider()), Settings(max_wait=0.3))
    register(server)
    sys.exit(serve_http(server, HttpSettings(port=0)))
