"""How an account fares, in the words of a list: one state, why, until when, and what a person can do. Pure."""

from typing import Final, assert_never

import msgspec

from kiro.accounts.account import STATES, Account, State
from kiro.accounts.acting import sign_in_hint
from kiro.accounts.health import FINE, Health
from kiro.accounts.overage import BUDGET_REACHED

PROBATION: Final = "one request tries it first"
_BUDGET_ADVICE: Final = "Wait for the new period, or allow more: `kiro accounts set {} --overage-budget N`, or the setting pool.overage_credits."


class Shown(msgspec.Struct, frozen=True):
    """`state` is one of STATES or `disabled`. `until` is in seconds since 1970, None where time alone changes nothing."""

    state: str
    meaning: str
    reason: str | None = None
    until: float | None = None
    todo: str | None = None


def shown(account: Account, health: Health = FINE, *, now: float) -> Shown:
    """What a person chose goes first, then what a person has to mend, then what ends by itself."""
    if not account.enabled:
        enable = f"`kiro accounts enable {account.name}` uses it again."
        return Shown("disabled", "switched off by hand", account.reason, todo=enable)
    if account.state != "active":
        return Shown(account.state, STATES[account.state], account.reason, todo=_todo(account.state, account))
    if health.resting(now):
        todo = _todo(health.state, account)
        if health.reason == BUDGET_REACHED:
            todo = _BUDGET_ADVICE.format(account.name)
        return Shown(health.state, STATES[health.state], health.reason, health.resting_until, todo)
    reason = PROBATION if health.on_probation(now) else None
    return Shown("active", STATES["active"], reason)


def _todo(state: State, account: Account) -> str | None:
    again = f"`kiro accounts restore {account.name}` tries it again."
    match state:
        case "active":
            return None
        case "cooling" | "failing":
            return "Nothing: it is used again by itself."
        case "throttled":
            return "Nothing: it is used again by itself. Using the account less keeps this from coming back."
        case "exhausted":
            return "Wait for the new period, or switch overage on at Kiro; the credits are looked up every hour."
        case "suspended":
            return f"Sign in to Kiro in the browser to see why, or ask AWS support. Then {again}"
        case "invalid":
            return sign_in_hint(account)
        case "misconfigured":
            return f"`kiro doctor` looks for the cause; importing the account anew may mend it. Then {again}"
        case "needs_profile":
            return f"Ask the company's administrator for a Kiro profile, then sign in again. {sign_in_hint(account)}"
        case _:
            assert_never(state)
