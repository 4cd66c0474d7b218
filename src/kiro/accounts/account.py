"""Who an account is, and the words for how it fares. No secrets, no I/O."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from kiro.auth.credentials import Kind
from kiro.upstream.endpoints import Flavour

if TYPE_CHECKING:
    from kiro.upstream.queries import UsageLimits

State = Literal[
    "active",
    "cooling",
    "throttled",
    "exhausted",
    "suspended",
    "invalid",
    "misconfigured",
    "needs_profile",
    "failing",
]
Mode = Literal["own", "follow", "shared"]

STATES: Final[dict[State, str]] = {
    "active": "ready",
    "cooling": "resting after a refusal; ready again by itself",
    "throttled": "Kiro saw suspicious activity; rests for half an hour",
    "exhausted": "the credits of the period are spent",
    "suspended": "Kiro has locked the account; its owner has to ask Kiro",
    "invalid": "the sign-in is dead; sign in again",
    "misconfigured": "the sign-in lacks something, or Kiro does not let it in here",
    "needs_profile": "no Kiro profile of the company was found",
    "failing": "several failures in a row; tried again later",
}
"""Every state, for a person. `disabled` is not a state of its own: a person's choice, and the state below it stays."""

SET_ASIDE: Final[frozenset[State]] = frozenset({"suspended", "invalid", "misconfigured", "needs_profile"})
"""States that do not end by themselves: no request goes to such an account."""
MENDED_BY_A_SIGN_IN: Final[frozenset[State]] = frozenset({"invalid", "misconfigured"})
"""Those of them that a new sign-in may end."""


class UsageSnapshot(msgspec.Struct, frozen=True):
    """Credits of the period as Kiro told them at `taken_at`.

    `left` also counts trials, bonuses and an overage that is switched on, up to Kiro's cap for it; None in what
    older versions stored.
    """

    used: float
    limit: float
    resets_at: datetime | None = None
    plan: str | None = None
    taken_at: datetime | None = None
    left: float | None = None
    overage: bool = False
    overage_used: float = 0.0
    overage_cap: float | None = None


def usage_snapshot(limits: "UsageLimits", now: float) -> UsageSnapshot | None:
    """What Kiro told at `now` (seconds), in the form that is kept; None when it told no numbers."""
    if limits.used is None or limits.limit is None:
        return None
    resets = datetime.fromtimestamp(limits.resets_at, UTC) if limits.resets_at else None
    taken = datetime.fromtimestamp(now, UTC)
    return UsageSnapshot(
        used=limits.used,
        limit=limits.limit,
        resets_at=resets,
        plan=limits.plan,
        taken_at=taken,
        left=limits.remaining,
        overage=limits.overage_enabled,
        overage_used=limits.overage_used,
        overage_cap=limits.overage_cap,
    )


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One account. `id` never changes, `name` is the person's word for it.

    `region` is where Kiro answers for it, when that is set or known; `auth_region` where its sign-in lives.
    `reason` is a machine-readable word beside `state`. `mode`: an `own` sign-in is refreshed here; a `follow`
    one belongs to another program and is read anew from `source`; a `shared` one as well, but may be refreshed
    here, and then the new tokens are written back. `proxy` is shown without its password.
    `priority`: the smaller number goes first. `overage_budget`: how many credits of overage it may use in a period;
    None for what `pool.overage_credits` says.
    """

    id: str
    name: str
    kind: Kind
    machine_id: str
    created_at: datetime
    provider: str | None = None
    state: State = "active"
    reason: str | None = None
    enabled: bool = True
    region: str | None = None
    auth_region: str | None = None
    profile_arn: str | None = None
    priority: int = 0
    email: str | None = None
    user_id: str | None = None
    start_url: str | None = None
    flavour: Flavour = "ide"
    mode: Mode = "own"
    source: str | None = None
    proxy: str | None = None
    expires_at: datetime | None = None
    usage: UsageSnapshot | None = None
    overage_budget: float | None = None
