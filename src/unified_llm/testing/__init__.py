"""Test your application without a model: scripted answers, recorded requests, no accidental calls.

    from unified_llm.testing import Failure, FakeLLM, Reply, ToolCall

    def test_the_assistant_looks_up_the_weather():
        llm = FakeLLM(ToolCall("get_weather", {"city": "Paris"}), "It is sunny.")
        assert my_assistant(llm, "How is Paris?") == "It is sunny."
        assert llm.requests[0].prompt == "How is Paris?"
        assert llm.requests[1].tool_results[0]["content"] == "sunny, 21 degrees"

`FakeLLM` is a `UnifiedLLM`; `replace_providers` gives such answers to the clients that an application makes itself.
Everything between your code and the wire is the real thing. With pytest, the line
``pytest_plugins = ["unified_llm.testing.pytest_plugin"]`` in a conftest.py gives the fixtures `fake_llm`,
`only_fake_providers` and `no_network`.
"""

from __future__ import annotations

from unified_llm.messages import ToolCall
from unified_llm.offline.hashing import embed_text
from unified_llm.offline.requests import RecordedRequest
from unified_llm.offline.schema_examples import example_for_schema
from unified_llm.offline.script import Cut, Failure, Reply, Script
from unified_llm.testing.fake import FakeLLM, replace_providers, scripted
from unified_llm.testing.guards import NetworkBlockedError, block_network, forbid_real_providers

__all__ = [
    "Cut",
    "Failure",
    "FakeLLM",
    "NetworkBlockedError",
    "RecordedRequest",
    "Reply",
    "Script",
    "ToolCall",
    "block_network",
    "embed_text",
    "example_for_schema",
    "forbid_real_providers",
    "replace_providers",
    "scripted",
]
