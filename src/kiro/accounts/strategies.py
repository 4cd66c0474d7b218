"""The order among accounts that are free: one row per value of `pool.strategy`.

Each strategy makes a key for `min`; where two are equal, the order of the list (priority, then age) decides.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Final

import msgspec

from kiro.accounts.account import SET_ASIDE, Account
from kiro.accounts.health import FINE, Health
from kiro.accounts.overage import left_within

_WINDOW_S: Final = 60.0
NEVER: Final = -math.inf


class Standing(msgspec.Struct, frozen=True):
    """One account as the choice sees it.

    `recent` is how much it was used lately: the logarithm of a sum that forgets with a time constant of
    a minute, kept so that two accounts can be compared at any time without a clock. A lifetime count would
    give a new account all requests until it has caught up. `left` are the
    credits left as far as is known: what Kiro told, less what answers have cost since; an unknown number comes last.
    `started` are the starts of the last minute, kept while a limit per minute is set. `budget` is how much
    overage the account may use, None for as much as Kiro allows.
    """

    id: str
    account: Account
    health: Health = FINE
    in_flight: int = 0
    recent: float = NEVER
    last_started: float = NEVER
    started: tuple[float, ...] = ()
    left: float = NEVER
    budget: float | None = None
    plain: bool = True
    """Usable, and nothing known against it: the case that has to be fast."""

    @property
    def usable(self) -> bool:
        return self.account.enabled and self.account.state not in SET_ASIDE


def standing(
    account: Account, health: Health, before: Standing | None = None, *, budget: float | None = None
) -> Standing:
    """The standing of an account that is new, or has changed."""
    plain = account.enabled and account.state not in SET_ASIDE and health is FINE
    if before is None:
        return Standing(account.id, account, health, left=_told(account, budget), plain=plain, budget=budget)
    same = before.account.usage == account.usage and before.budget == budget
    left = before.left if same else _told(account, budget)
    return msgspec.structs.replace(before, account=account, health=health, plain=plain, left=left, budget=budget)


def _told(account: Account, budget: float | None) -> float:
    return NEVER if account.usage is None else left_within(account.usage, budget)


def more_recent(recent: float, now: float) -> float:
    """`recent` after one more request at `now`."""
    use = now / _WINDOW_S
    high, low = (recent, use) if recent > use else (use, recent)
    return high + math.log1p(math.exp(low - high))


Turns = Mapping[str, int]
Pick = Callable[[Iterable[Standing], Turns], Standing]

_least_used: Final = attrgetter("in_flight", "recent")


def _by_use(ready: Iterable[Standing], _: Turns) -> Standing:
    return min(ready, key=_least_used)


def _by_priority(ready: Iterable[Standing], _: Turns) -> Standing:
    return min(ready, key=lambda one: (one.account.priority, one.in_flight, one.recent))


def _by_turn(ready: Iterable[Standing], turns: Turns) -> Standing:
    """Whose last turn with this model is longest ago: round-robin that survives accounts coming and going."""
    return min(ready, key=lambda one: turns.get(one.id, 0))


def _by_credits(ready: Iterable[Standing], _: Turns) -> Standing:
    return min(ready, key=lambda one: (-one.left, one.in_flight, one.recent))


STRATEGIES: Final[dict[str, Pick]] = {
    "least-used": _by_use,
    "priority": _by_priority,
    "round-robin": _by_turn,
    "most-left": _by_credits,
}
