"""Whose turn it is: pure decisions over values, with time passed in.

`choose` picks the account for a request, `after` says what an outcome does to an account's health.
Nothing here sleeps, reads a clock or keeps state; the relay does what is decided.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from kiro.accounts.account import Account
from kiro.errors import (
    AccessRefused,
    AccountSuspended,
    ApplicationRefused,
    KiroError,
    NoAccountReady,
    ProfileRefused,
    QuotaExhausted,
    RateLimited,
    SignInNeeded,
    TokenRejected,
)

_FIRST_REST_S: Final = 10.0
_LONGEST_REST_S: Final = 60.0
_SUSPICIOUS_REST_S: Final = 1800.0
_QUOTA_RECHECK_S: Final = {"hour": 600.0, "day": 3600.0, "week": 3600.0, "month": 3600.0}
_REFUSED_REST_S: Final = 600.0
_TOKEN_REST_S: Final = 300.0


class Health(msgspec.Struct, frozen=True):
    """How an account is doing. `resting_until` is a wall-clock time in seconds, 0 when it may work."""

    resting_until: float = 0.0
    reason: str | None = None
    failures: int = 0


class Disable(msgspec.Struct, frozen=True):
    """The account needs a person; `reason` says why."""

    reason: str


def choose(
    accounts: Sequence[Account],
    health: Mapping[str, Health],
    *,
    now: float,
    tried: frozenset[str] = frozenset(),
    only: str | None = None,
) -> Account:
    """The account to use: the first by priority that is enabled, not resting and not tried yet.

    `only` pins one by name or id. Raises SignInNeeded when there is nothing to choose from and
    NoAccountReady, with the time until the first is ready, when all rest.
    """
    wanted = [account for account in accounts if only is None or only in (account.name, account.id)]
    if not wanted:
        raise _nothing_to_choose(accounts, only)
    usable = [account for account in wanted if account.enabled and account.state != "invalid"]
    if not usable:
        raise SignInNeeded(
            "No account can be used: each is disabled or its sign-in is dead.",
            hint="`kiro accounts list` says why; `kiro accounts import` or `kiro login` renews one.",
        )
    ready = [account for account in usable if _rest(health, account, now) <= 0 and account.id not in tried]
    if ready:
        return min(ready, key=lambda account: (account.priority, account.name))
    waits = [_rest(health, account, now) for account in usable if account.id not in tried]
    raise _all_rest(len(usable), min(waits, default=0.0))


def after(error: KiroError | None, before: Health, *, now: float) -> Health | Disable:
    """Health after an outcome. `None` is success. Only what is the account's own doing costs it anything."""
    if error is None:
        return Health()
    failures = before.failures + 1
    match error:
        case AccountSuspended():
            return Disable(f"suspended: {error.message}")
        case RateLimited(suspicious=True):
            return Health(
                now + (error.retry_after_s or _SUSPICIOUS_REST_S), "limited for suspicious activity", failures
            )
        case RateLimited(reason="SERVICE_REQUEST_RATE_EXCEEDED"):
            return before
        case RateLimited():
            rest = min(_FIRST_REST_S * 2 ** (failures - 1), _LONGEST_REST_S)
            return Health(now + (error.retry_after_s or rest), "rate limited", failures)
        case QuotaExhausted():
            rest = error.retry_after_s or _QUOTA_RECHECK_S[error.period]
            return Health(now + rest, f"credits of this {error.period} are spent", failures)
        case TokenRejected():
            return Health(now + _TOKEN_REST_S, "its token is not accepted", failures)
        case ApplicationRefused() | ProfileRefused() | AccessRefused():
            return Health(now + _REFUSED_REST_S, f"refused: {error.message}", failures)
        case _:
            return before


def _rest(health: Mapping[str, Health], account: Account, now: float) -> float:
    known = health.get(account.id)
    return known.resting_until - now if known is not None else 0.0


def _nothing_to_choose(accounts: Sequence[Account], only: str | None) -> SignInNeeded:
    if accounts:
        names = ", ".join(sorted(account.name for account in accounts))
        return SignInNeeded(f"There is no account {only!r}.", hint=f"There are: {names}.")
    return SignInNeeded(
        "There is no account yet.",
        hint="`kiro accounts import FILE` reads a sign-in of another program, `kiro login key` takes a Kiro API key.",
    )


def _all_rest(count: int, wait_s: float) -> NoAccountReady:
    who = "The account is" if count == 1 else f"All {count} accounts are"
    return NoAccountReady(
        f"{who} resting; the first is ready in {max(1, round(wait_s))} s.",
        hint="`kiro accounts list` shows why.",
        retry_after_s=max(1.0, wait_s),
    )
