"""How much overage an account may use: it costs money, so the person sets a budget below Kiro's own cap. Pure.

A budget is in credits per period. It counts once the credits of the plan, of trials and of bonuses are
spent, and only where overage is switched on at Kiro; None leaves it to Kiro's cap.
"""

from typing import Final

from kiro.accounts.account import UsageSnapshot
from kiro.accounts.health import FINE, QUOTA_REST_S, Health, after_recheck

BUDGET_REACHED: Final = "overage budget reached"
_NOTHING: Final = 1e-6
"""Credits are sums of fractions; less than this is none."""


def left_within(usage: UsageSnapshot, budget: float | None) -> float:
    """Credits left, as many as may be used."""
    left = usage.left if usage.left is not None else max(0.0, usage.limit - usage.used)
    if not usage.overage or budget is None:
        return left
    cap = usage.overage_cap
    included = left - max(0.0, (cap or 0.0) - usage.overage_used)
    most = budget if cap is None else min(budget, cap)
    return max(0.0, included) + max(0.0, most - usage.overage_used)


def within_budget(
    before: Health, usage: UsageSnapshot | None, budget: float | None, *, now: float, spent: float = 0.0
) -> Health:
    """Rests an account that has used up its budget until the period ends; frees one that has budget again.

    `spent` are credits that answers have cost since Kiro told the usage.
    """
    if _reached(usage, budget, now, spent):
        if before.state in ("exhausted", "throttled") and before.resting(now):
            return before
        resets = usage.resets_at.timestamp() if usage is not None and usage.resets_at is not None else 0.0
        until = resets if resets > now else now + QUOTA_REST_S["month"]
        return Health("exhausted", BUDGET_REACHED, now, until, 0, before.benched)
    if before.reason == BUDGET_REACHED:
        return Health(benched=before.benched) if before.benched else FINE
    return before


def after_told(before: Health, usage: UsageSnapshot, budget: float | None, *, now: float) -> Health:
    """After Kiro has told the credits: the budget, and whether a spent account may be tried again."""
    health = within_budget(before, usage, budget, now=now)
    if health.reason == BUDGET_REACHED:
        return health
    resets_at = usage.resets_at.timestamp() if usage.resets_at is not None else None
    return after_recheck(health, remaining=left_within(usage, budget), resets_at=resets_at, now=now)


def _reached(usage: UsageSnapshot | None, budget: float | None, now: float, spent: float) -> bool:
    if usage is None or budget is None or not usage.overage:
        return False
    if usage.resets_at is not None and usage.resets_at.timestamp() <= now:
        return False  # the numbers are of a period that is over
    return left_within(usage, budget) - spent <= _NOTHING
