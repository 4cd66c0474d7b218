"""Whose turn it is: a pure decision over values, with time passed in.

`choose` answers with `Take`, or with `Wait` when every account that could serve is busy or paced, or
raises when none can. Nothing here sleeps, reads a clock or keeps state; `accounts.turns` does what is
decided, `accounts.health` says what an outcome costs.

One pass over the accounts collects who is free: for an account with nothing against it that is two
comparisons. Everything unusual (rests, probation, benched models, the reason why nobody is free) is
looked at only where it occurs.
"""

from collections.abc import Collection, Sequence
from typing import Final, TypeAlias

import msgspec

from kiro.accounts.account import Account
from kiro.accounts.strategies import NEVER, STRATEGIES, Standing, Turns
from kiro.errors import AccountForbidden, NoAccountReady, SignInNeeded, UnknownModel
from kiro.storage.sections import PoolSettings

_MINUTE_S: Final = 60.0
_NOBODY: Final[frozenset[str]] = frozenset()


class Reach(msgspec.Struct, frozen=True):
    """Which accounts a request may use. `only` pins one by name or id.

    `allowed` are the ids of the accounts that its client may use; None lets it use all. `first` is the id of the one
    that it prefers: others help out while that one cannot serve.
    """

    only: str | None = None
    allowed: frozenset[str] | None = None
    first: str | None = None

    def ask(self) -> "Ask":
        return Ask(only=self.only, allowed=self.allowed, first=self.first)


class Ask(msgspec.Struct, frozen=True):
    """What a request wants of an account; `tried` (ids) have failed it already. The rest is as for `Reach`."""

    model: str | None = None
    session: str | None = None
    only: str | None = None
    tried: frozenset[str] = _NOBODY
    allowed: frozenset[str] | None = None
    first: str | None = None


class Take(msgspec.Struct, frozen=True):
    """Use this account. `bind`: the session stays with it from now on."""

    account: Account
    bind: bool = True


class Wait(msgspec.Struct, frozen=True):
    """Somebody can serve, but not now: ask again when a place gets free, or at `until`, if that is known."""

    until: float | None = None


Choice: TypeAlias = Take | Wait


class View(msgspec.Struct, frozen=True):
    """What the choice looks at besides the accounts. All are facts about this moment.

    `bound` is the account the session stays with; `lacking` are ids of accounts without the model;
    `turns` says when each account had its last turn with the model; `total` are all starts of the last minute.
    """

    bound: str | None = None
    lacking: frozenset[str] = _NOBODY
    turns: Turns = {}
    total: Sequence[float] = ()


def choose(standings: Collection[Standing], ask: Ask, rules: PoolSettings, view: View, *, now: float) -> Choice:
    """The account to use.

    Raises SignInNeeded (there is none), AccountForbidden (none that the client may use), UnknownModel (no plan has
    the model) or NoAccountReady.
    """
    if ask.only is not None or ask.allowed is not None:
        standings = eligible(standings, ask)
    if ask.only is not None:
        view = msgspec.structs.replace(view, lacking=_NOBODY)
    total_free = free_at(view.total, rules.total_requests_per_minute)
    if total_free > now:
        _explain(standings, ask, view, now)
        return Wait(total_free)
    ready = _ready(standings, ask, rules, view, now)
    if not ready:
        open_to_all = _NOBODY if _all_lack(standings, ask, view, now) else view.lacking
        view = msgspec.structs.replace(view, lacking=open_to_all)
        ready = _ready(standings, ask, rules, view, now, any_bench=True)
    if not ready:
        _explain(standings, ask, view, now)
        return Wait(_next_change(standings, ask, rules, view, now))
    if view.bound is not None:
        for one in ready:
            if one.id == view.bound:
                return Take(one.account)
    chosen = STRATEGIES[rules.strategy](ready, view.turns).account
    return Take(chosen, bind=not _only_busy(standings, ask, view, now))


def free_at(started: Sequence[float], most: int) -> float:
    """When a limit of `most` starts per minute lets the next one go; 0 switches the limit off."""
    if most == 0 or len(started) < most:
        return NEVER
    return started[-most] + _MINUTE_S


def _ready(
    standings: Collection[Standing], ask: Ask, rules: PoolSettings, view: View, now: float, *, any_bench: bool = False
) -> list[Standing]:
    """Who may take the request now. `any_bench` lets in those whose model was overloaded a moment ago."""
    barred = ask.tried | view.lacking if view.lacking else ask.tried
    most = rules.max_in_flight
    ready = [
        one
        for one in standings
        if one.in_flight < most and one.id not in barred and (one.plain or _fit(one, ask, now, any_bench=any_bench))
    ]
    if rules.min_interval_ms or rules.requests_per_minute:
        ready = [one for one in ready if _paced_until(one, rules) <= now]
    return ready


def _fit(one: Standing, ask: Ask, now: float, *, any_bench: bool) -> bool:
    """An account with something against it: is it good for this request now?"""
    health = one.health
    if not one.usable or health.resting(now):
        return False
    if one.in_flight and health.on_probation(now) and one.last_started >= health.resting_until:
        return False  # one request is trying it out; those that began before the rest do not count
    bench = health.bench(ask.model, now) if health.benched else None
    return bench is None or (any_bench and not bench.lacking)


def _paced_until(one: Standing, rules: PoolSettings) -> float:
    by_interval = one.last_started + rules.min_interval_ms / 1000 if rules.min_interval_ms else NEVER
    return max(by_interval, free_at(one.started, rules.requests_per_minute))


def _only_busy(standings: Collection[Standing], ask: Ask, view: View, now: float) -> bool:
    """The session's account is well and merely has no place now: the session will come back to it."""
    if view.bound is None or view.bound in ask.tried:
        return False
    bound = next((one for one in standings if one.id == view.bound), None)
    return bound is not None and bound.usable and not bound.health.resting(now) and _has(bound, ask, now)


def _has(one: Standing, ask: Ask, now: float) -> bool:
    bench = one.health.bench(ask.model, now)
    return bench is None or not bench.lacking


def _all_lack(standings: Collection[Standing], ask: Ask, view: View, now: float) -> bool:
    """Lists can be old: when nobody's list has the model, everybody may be asked, until one refusal shows them right."""
    return all(one.id in view.lacking and _has(one, ask, now) for one in standings if one.usable)


def eligible(standings: Collection[Standing], ask: Ask) -> Collection[Standing]:
    """The accounts that the request is about: those its client may use, or the one it names."""
    allowed, only = ask.allowed, ask.only
    if allowed is None:
        return standings if only is None else _pinned(standings, standings, only)
    usable = [one for one in standings if one.id in allowed]
    if only is not None:
        return _pinned(usable, standings, only)
    if not usable and standings:
        raise AccountForbidden(
            "The accounts that this client key may use are gone.",
            hint="`kiro keys set KEY --accounts NAMES` names others.",
        )
    return usable


def _pinned(usable: Collection[Standing], standings: Collection[Standing], only: str) -> list[Standing]:
    found = [one for one in usable if only in (one.account.name, one.id)]
    if found or not standings:
        return found
    names = ", ".join(sorted(one.account.name for one in usable))
    hint = f"It may use: {names}." if names else "`kiro keys set KEY --accounts NAMES` changes that."
    for one in standings:
        if only in (one.account.name, one.id):
            raise AccountForbidden(f"This client key may not use the account {one.account.name}.", hint=hint)
    raise SignInNeeded(f"There is no account {only!r}.", hint=f"There are: {names}.")


def _explain(standings: Collection[Standing], ask: Ask, view: View, now: float) -> None:
    """Raises why nobody can serve; returns when somebody could, if only there were a place."""
    if not standings:
        raise SignInNeeded(
            "There is no account yet.",
            hint="`kiro accounts add` asks step by step; `kiro accounts import FILE` reads a sign-in of another program.",
        )
    usable = [one for one in standings if one.usable]
    if not usable:
        raise SignInNeeded(
            _nobody_usable(standings),
            hint="`kiro accounts list` says why; `kiro accounts import` or `kiro login` renews a sign-in.",
        )
    anybody = _all_lack(standings, ask, view, now)
    able = [one for one in usable if anybody or one.id not in view.lacking]
    having = [one for one in able if _has(one, ask, now)]
    if not having and ask.model is not None:
        raise UnknownModel(ask.model, hint="Neither the plans nor the regions of your accounts have it.")
    waiting = [one for one in having if one.id not in ask.tried]
    if not waiting:
        raise NoAccountReady("There is no other account to try.", hint="`kiro accounts list` shows how they fare.")
    if all(one.health.resting(now) for one in waiting):
        raise _all_rest(waiting, now)


def _next_change(
    standings: Collection[Standing], ask: Ask, rules: PoolSettings, view: View, now: float
) -> float | None:
    """The next time at which time alone frees somebody."""
    times: list[float] = []
    for one in standings:
        if one.usable and one.id not in ask.tried and one.id not in view.lacking:
            times += [time for time in (one.health.resting_until, _paced_until(one, rules)) if time > now]
    return min(times, default=None)


def _nobody_usable(standings: Collection[Standing]) -> str:
    if len(standings) > 1:
        return (
            f"None of the {len(standings)} accounts can be used: each is disabled, set aside, or its sign-in is dead."
        )
    (account,) = (one.account for one in standings)
    why = "disabled" if not account.enabled else f"{account.state} ({account.reason})" if account.reason else None
    return f"The account {account.name} cannot be used: it is {why or account.state}."


def _all_rest(resting: Sequence[Standing], now: float) -> NoAccountReady:
    first = min(resting, key=lambda one: one.health.resting_until)
    wait_s = max(1.0, first.health.resting_until - now)
    reason = f" ({first.health.reason})" if first.health.reason else ""
    if len(resting) == 1:
        message = f"The account {first.account.name} is resting{reason}; it is ready in {_span(wait_s)}."
    else:
        message = f"All {len(resting)} accounts that could serve are resting; the first is ready in {_span(wait_s)}."
    return NoAccountReady(message, hint="`kiro accounts list` shows why.", retry_after_s=wait_s)


def _span(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
