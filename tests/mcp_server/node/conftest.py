"""The Node tools, or a skip that says how to get them."""

from __future__ import annotations

import pytest

from testkit.mcp_node import NodeTools, find_node_tools


@pytest.fixture(scope="session")
def node() -> NodeTools:
    found = find_node_tools()
    if isinstance(found, str):
        pytest.skip(found)
    return found
