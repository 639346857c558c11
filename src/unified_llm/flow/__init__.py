"""How one call is carried out: targets in order, retries, waiting, limits, hooks. Drives `policy`, sync and async."""

from unified_llm.flow.gate import Gate
from unified_llm.flow.hedging import hedged
from unified_llm.flow.hooks import CallInfo, Hooks
from unified_llm.flow.runner import Flow, FlowSettings

__all__ = ["CallInfo", "Flow", "FlowSettings", "Gate", "Hooks", "hedged"]
