"""Retry, fallback, circuit breakers, rate limits: decisions without I/O and without a clock.

The heart is `plan`, a generator that says "send to that target" or "wait so long" and is told what happened. The
façade drives it with a few lines, sync or async; the tests drive it with a virtual clock.
"""

from unified_llm.policy.balance import Balancer, Deployment, Member, Strategy
from unified_llm.policy.breaker import BreakerSettings, CircuitBreaker
from unified_llm.policy.limits import Limits, TokenBucket
from unified_llm.policy.plan import Outcome, Send, Step, Target, Wait, plan
from unified_llm.policy.retry import RetryBudget, RetryPolicy

__all__ = [
    "Balancer",
    "BreakerSettings",
    "CircuitBreaker",
    "Deployment",
    "Limits",
    "Member",
    "Outcome",
    "RetryBudget",
    "RetryPolicy",
    "Send",
    "Step",
    "Strategy",
    "Target",
    "TokenBucket",
    "Wait",
    "plan",
]
