"""Who works with which account now, who waits, and what was learned: the doing around `accounts.pool`.

A request takes a place with an account and leaves it when its answer is over. Where no place is free it
waits in one queue for all accounts: whoever came first is served first, and somebody who waits for a
busy account does not hold up those who can use another. The queue is looked at whenever something
changes: a place gets free, an outcome arrives, an account is changed, a rest or a pause ends.

One per process; all methods belong to one event loop. With nobody waiting a turn is one `choose` and
two small values made anew.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from kiro.accounts.account import Account, UsageSnapshot
from kiro.accounts.health import FINE, Health, Outcome, after
from kiro.accounts.overage import after_told, left_within, within_budget
from kiro.accounts.pool import Ask, Choice, Take, View, Wait, choose, eligible
from kiro.accounts.strategies import Standing, more_recent, standing
from kiro.errors import KiroError, NoAccountReady
from kiro.storage.sections import PoolSettings

_MINUTE_S: Final = 60.0
_MOST_SESSIONS: Final = 20_000
_MOST_MODELS: Final = 200
_UNLIMITED: Final = 1 << 30

Changed = Callable[[Account, Health], None]


class _Waiter:
    __slots__ = ("ask", "place")

    def __init__(self, ask: Ask, place: "asyncio.Future[Account]") -> None:
        self.ask = ask
        self.place = place


def _given(waiter: _Waiter) -> bool:
    place = waiter.place
    return place.done() and not place.cancelled() and place.exception() is None


def _no_lists(_: str) -> frozenset[str]:
    return frozenset()


def _unheard(account: Account, health: Health) -> None:
    """Nobody wants to know."""


class Turns:
    """`accounts` and `rules` are asked anew at each turn; `lacking` tells the ids of accounts without a model.

    `changed` hears of every new health, at once; it must not block. `health` is what an earlier process knew.
    """

    def __init__(
        self,
        accounts: Callable[[], Sequence[Account]],
        rules: Callable[[], PoolSettings],
        *,
        lacking: Callable[[str], frozenset[str]] = _no_lists,
        changed: Changed = _unheard,
        health: Mapping[str, Health] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = accounts
        self._rules = rules
        self._lacking = lacking
        self._changed = changed
        self._clock = clock
        self._remembered = dict(health or {})
        self._seen: Sequence[Account] | None = None
        self._standings: dict[str, Standing] = {}
        self._bound: dict[str, tuple[str, float]] = {}
        self._turns: dict[str, dict[str, int]] = {}
        self._turn = 0
        self._total: deque[float] = deque()
        self._waiting: list[_Waiter] = []
        self._alarm: asyncio.TimerHandle | None = None

    # -- taking turns

    async def take(self, ask: Ask, *, patience_s: float | None = None) -> Account:
        """A place with an account, when one is free. Raises as `choose`; NoAccountReady when patience ends."""
        if not self._waiting:
            account = self.take_now(ask)
            if account is not None:
                return account
        waiter = _Waiter(ask, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._serve()
        try:
            async with asyncio.timeout(patience_s):
                return await waiter.place
        except TimeoutError:
            if _given(waiter):
                return waiter.place.result()
            raise NoAccountReady(
                f"No account had a free place within {patience_s:.0f} s.",
                hint="`pool.max_in_flight` and the other pool settings limit how much runs at a time.",
                retry_after_s=5.0,
            ) from None
        except asyncio.CancelledError:
            if _given(waiter):
                self.leave(waiter.place.result().id)  # in the very moment in which the client left
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def take_now(self, ask: Ask) -> Account | None:
        """A place with an account, or None when there is none free. Jumps the queue: `take` does not."""
        choice = self._choose(ask, self._rules())
        if isinstance(choice, Wait):
            return None
        self._start(ask, choice)
        return choice.account

    def leave(self, account_id: str, *, spent: float = 0.0) -> None:
        """The place is free again. `spent` are the credits the answer has cost."""
        one = self._standings.get(account_id)
        if one is not None:
            left = msgspec.structs.replace(one, in_flight=max(0, one.in_flight - 1), left=one.left - spent)
            self._standings[account_id] = left
            if spent and left.budget is not None and left.left <= 0:
                self._check_budget(left)
        if self._waiting:
            self._serve()

    def look(self, ask: Ask) -> Account:
        """Whose turn it would be, busy or not, without taking a place. Raises as `choose`."""
        free = msgspec.structs.replace(
            self._rules(),
            max_in_flight=_UNLIMITED,
            min_interval_ms=0,
            requests_per_minute=0,
            total_requests_per_minute=0,
        )
        choice = self._choose(ask, free)
        if isinstance(choice, Take):
            return choice.account
        now = self._clock()
        for one in eligible(self._standings.values(), ask):
            if one.usable and not one.health.resting(now):
                return one.account
        raise AssertionError("choose raises when nobody could serve")

    def look_anyway(self, ask: Ask) -> Account:
        """As `look`; where all rest, the one that is back first: for questions that cost nothing."""
        try:
            return self.look(ask)
        except NoAccountReady:
            usable = [one for one in eligible(self._standings.values(), ask) if one.usable]
            return min(usable, key=lambda one: one.health.resting_until).account

    def eligible(self, ask: Ask) -> frozenset[str] | None:
        """Ids of the accounts that the request can go to, whatever their health; None for all. Raises as `choose`."""
        if ask.only is None and ask.allowed is None:
            return None
        return frozenset(one.id for one in eligible(self._current().values(), ask))

    # -- learning

    def learn(
        self, account: Account, error: KiroError | None, *, model: str | None = None, began: float | None = None
    ) -> Outcome | None:
        """What the outcome of a request that began at `began` costs the account. None: nothing.

        `account` is what the request was made with: it may have been switched to another API meanwhile.
        """
        one = self._current().get(account.id)
        if one is None or (error is None and one.health is FINE):
            return None
        asked = account if account.flavour != one.account.flavour else one.account
        outcome = after(error, one.health, asked, now=self._clock(), model=model, began=began)
        if isinstance(outcome, Health):
            if outcome is one.health:
                return None
            self.set_health(account.id, outcome)
        return outcome

    def health(self, account_id: str) -> Health:
        one = self._current().get(account_id)
        return one.health if one is not None else FINE

    def serves(self, account_id: str) -> bool:
        """Whether a request may ask this account: it is neither disabled nor set aside nor resting."""
        one = self._current().get(account_id)
        return one is not None and one.usable and not one.health.resting(self._clock())

    def set_health(self, account_id: str, health: Health, *, tell: bool = True) -> None:
        """`tell` False: somebody else has written it down already."""
        one = self._current().get(account_id)
        if one is None or one.health == health:
            return
        self._standings[account_id] = standing(one.account, health, one, budget=one.budget)
        if tell:
            self._changed(one.account, health)
        if self._waiting:
            self._serve()

    def credits_told(self, account_id: str, usage: UsageSnapshot) -> None:
        """What Kiro says about the credits of an account: it goes on, or it rests until the period ends."""
        one = self._current().get(account_id)
        if one is None:
            return
        self.set_health(account_id, after_told(one.health, usage, one.budget, now=self._clock()))

    def refresh(self) -> None:
        """Accounts or settings have changed: perhaps somebody who waits can be served, or never will be."""
        self._seen = None
        self._current()
        if self._waiting:
            self._serve()

    # -- for those who watch

    @property
    def waiting(self) -> int:
        """How many requests wait for a place."""
        return len(self._waiting)

    @property
    def in_flight(self) -> int:
        """How many places are taken, over all accounts."""
        return sum(one.in_flight for one in self._standings.values())

    def last_used(self, account_id: str) -> float:
        """When the last request with this account began, in seconds; minus infinity for never."""
        one = self._current().get(account_id)
        return one.last_started if one is not None else float("-inf")

    def budget(self, account_id: str) -> float | None:
        """How many credits of overage the account may use in a period; None for as many as Kiro allows."""
        one = self._current().get(account_id)
        return one.budget if one is not None else None

    # -- inside

    def _current(self) -> dict[str, Standing]:
        """The standings, in the order of the list of accounts and in step with it."""
        accounts = self._accounts()
        if accounts is not self._seen:
            before, self._seen = self._standings, accounts
            self._standings = {}
            default = self._rules().overage_credits
            for account in accounts:
                known = before.get(account.id)
                health = known.health if known is not None else self._remembered.pop(account.id, FINE)
                budget = account.overage_budget if account.overage_budget is not None else default
                self._standings[account.id] = standing(account, health, known, budget=budget)
            for one in list(self._standings.values()):
                self._check_budget(one)
        return self._standings

    def _check_budget(self, one: Standing) -> None:
        """Rests an account whose overage has reached its budget, and frees one that has budget again."""
        usage, now = one.account.usage, self._clock()
        spent = left_within(usage, one.budget) - one.left if usage is not None else 0.0
        health = within_budget(one.health, usage, one.budget, now=now, spent=spent)
        if health is not one.health:
            self._standings[one.id] = standing(one.account, health, one, budget=one.budget)
            self._changed(one.account, health)

    def _choose(self, ask: Ask, rules: PoolSettings) -> Choice:
        standings, now = self._current(), self._clock()
        if self._total:
            self._forget_starts(now)
        view = View(
            bound=ask.first or self._bound_to(ask.session, now),
            lacking=self._lacking(ask.model) if ask.model is not None else frozenset(),
            turns=self._turns.get(ask.model or "", {}),
            total=self._total,
        )
        return choose(standings.values(), ask, rules, view, now=now)

    def _start(self, ask: Ask, choice: Take) -> None:
        rules, now = self._rules(), self._clock()
        one = self._standings[choice.account.id]
        started: tuple[float, ...] = ()
        if rules.requests_per_minute:
            started = (*(time for time in one.started if time > now - _MINUTE_S), now)
        if rules.total_requests_per_minute:
            self._total.append(now)
        self._standings[one.id] = msgspec.structs.replace(
            one,
            in_flight=one.in_flight + 1,
            recent=more_recent(one.recent, now),
            last_started=now,
            started=started,
        )
        if rules.strategy == "round-robin":
            self._turn += 1
            if len(self._turns) >= _MOST_MODELS:
                self._turns.clear()
            self._turns.setdefault(ask.model or "", {})[one.id] = self._turn
        if choice.bind and ask.session is not None and ask.only is None:
            self._bind(ask.session, one.id, now + rules.sticky_minutes * 60)

    def _bound_to(self, session: str | None, now: float) -> str | None:
        known = self._bound.get(session) if session is not None else None
        return known[0] if known is not None and known[1] > now else None

    def _bind(self, session: str, account_id: str, until: float) -> None:
        self._bound.pop(session, None)
        self._bound[session] = (account_id, until)
        if len(self._bound) > _MOST_SESSIONS:
            del self._bound[next(iter(self._bound))]

    def _forget_starts(self, now: float) -> None:
        while self._total and self._total[0] <= now - _MINUTE_S:
            self._total.popleft()

    def _serve(self) -> None:
        """Gives places to those who wait, first come first served. Equal wishes are looked at once."""
        in_vain: set[tuple[str | None, str | None, frozenset[str], frozenset[str] | None]] = set()
        left: list[_Waiter] = []
        soonest: float | None = None
        rules = self._rules()
        for waiter in self._waiting:
            ask = waiter.ask
            if waiter.place.done():
                continue
            wish = (ask.model, ask.only, ask.tried, ask.allowed)
            if wish in in_vain:
                left.append(waiter)
                continue
            try:
                choice = self._choose(ask, rules)
            except KiroError as error:
                waiter.place.set_exception(error)
                continue
            if isinstance(choice, Take):
                self._start(ask, choice)
                waiter.place.set_result(choice.account)
                continue
            in_vain.add(wish)
            left.append(waiter)
            if choice.until is not None and (soonest is None or choice.until < soonest):
                soonest = choice.until
        self._waiting = left
        self._set_alarm(soonest)

    def _set_alarm(self, at: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if at is not None:
            delay_s = max(0.0, at - self._clock()) + 0.001
            self._alarm = asyncio.get_running_loop().call_later(delay_s, self._serve)
