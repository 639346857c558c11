"""What calls cost: prices per model, running totals, budgets. USD throughout; None when a price is not known."""

from unified_llm.costs.budget import Budget, BudgetExceeded
from unified_llm.costs.ledger import Ledger, Totals, UsageRecord
from unified_llm.costs.prices import Price, PriceTable
from unified_llm.costs.usage_hooks import UsageHooks

__all__ = ["Budget", "BudgetExceeded", "Ledger", "Price", "PriceTable", "Totals", "UsageHooks", "UsageRecord"]
