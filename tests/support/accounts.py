"""Accounts as values, and the rules of a pool, with short words."""

from datetime import UTC, datetime

import msgspec

from kiro.accounts.account import Account, UsageSnapshot
from kiro.accounts.health import FINE
from kiro.accounts.strategies import standing
from kiro.storage.sections import PoolSettings

RULES = PoolSettings(
    strategy="least-used",
    sticky_minutes=60.0,
    max_in_flight=8,
    min_interval_ms=0,
    requests_per_minute=0,
    total_requests_per_minute=0,
    overage_credits=None,
    health_check_minutes=10.0,
)


def rules(**changes):
    return msgspec.structs.replace(RULES, **changes)


def account(name="first", **more):
    made = datetime(2026, 1, 1, tzinfo=UTC)
    return Account(id=f"id-{name}", name=name, kind="social", machine_id="0" * 64, created_at=made, **more)


def usage(used=0.0, limit=1000.0, **more):
    return UsageSnapshot(used, limit, **more)


def stand(name="first", *, health=FINE, priority=0, enabled=True, state="active", credits_told=None, **more):
    """A Standing; `more` are its own fields."""
    who = account(name, priority=priority, enabled=enabled, state=state, usage=credits_told)
    return msgspec.structs.replace(standing(who, health), **more)
