"""How an account fares, and what each outcome does to that: pure, with time passed in.

A rest has an end and a reason. When it has ended the account is on probation: one request goes first,
and only its success opens the account for more (`on_probation`). What is not the account's own doing
(capacity, the network, a malformed request) costs it nothing. Requests run side by side, so an outcome
counts by when its request began: a success of a request that began before the rest proves nothing, and
eight refusals of one burst are one refusal.
"""

from typing import Final, Literal, TypeAlias

import msgspec

from kiro.accounts.account import Account, State
from kiro.errors import (
    AccessRefused,
    AccountSuspended,
    ApplicationRefused,
    EncryptionRefused,
    KiroError,
    ModelOverloaded,
    ModelUnavailable,
    ProfileMissing,
    ProfileRefused,
    QuotaExhausted,
    RateLimited,
    SignInNeeded,
    TokenRejected,
    UpstreamError,
)
from kiro.upstream.endpoints import Flavour

FIRST_REST_S: Final = 10.0
LONGEST_REST_S: Final = 60.0
SUSPICIOUS_REST_S: Final = 1800.0
SUSPICIOUS_LEAST_S: Final = 600.0
REFUSED_REST_S: Final = 600.0
TOKEN_REST_S: Final = 300.0
SIGN_IN_REST_S: Final = 10.0
MODEL_LACKING_S: Final = 3600.0
MODEL_BUSY_S: Final = 30.0
QUOTA_REST_S: Final = {"hour": 600.0, "day": 3600.0, "week": 3600.0, "month": 3600.0}
"""Rest after a spent quota whose end nobody told; then one request asks again."""
BELIEVED_AFTER_S: Final = 60.0
"""Credits that Kiro tells of right after it refused for lack of them are not believed for this long."""

Rest = Literal["active", "cooling", "throttled", "exhausted"]


class Bench(msgspec.Struct, frozen=True):
    """One model an account is not asked for until `until`. `lacking`: the plan or region has no such model;
    otherwise it is only overloaded, and asked for where nothing better is free.
    """

    model: str
    until: float
    lacking: bool


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an account is doing. Times are wall-clock seconds; `resting_until` is 0 when nothing is known against it.

    `since` is when the last refusal came, `failures` how many refusals of a kind came in a row.
    """

    state: Rest = "active"
    reason: str | None = None
    since: float = 0.0
    resting_until: float = 0.0
    failures: int = 0
    benched: tuple[Bench, ...] = ()

    def resting(self, now: float) -> bool:
        return self.resting_until > now

    def on_probation(self, now: float) -> bool:
        """The rest is over, and no request has succeeded yet."""
        return 0.0 < self.resting_until <= now

    def bench(self, model: str | None, now: float) -> Bench | None:
        return next((one for one in self.benched if one.model == model and one.until > now), None)


FINE: Final = Health()


class SetAside(msgspec.Struct, frozen=True):
    """A person has to act before the account is used again. `reason` is a machine-readable word."""

    state: State
    reason: str


class SwitchFlavour(msgspec.Struct, frozen=True):
    """The sign-in may not use this API of Kiro's, and perhaps that one: tried once."""

    flavour: Flavour


Outcome: TypeAlias = Health | SetAside | SwitchFlavour


def after(
    error: KiroError | None,
    before: Health,
    account: Account,
    *,
    now: float,
    model: str | None = None,
    began: float | None = None,
) -> Outcome:
    """What the outcome of a request that began at `began` does to the account. `None` is success."""
    began = now if began is None else began
    if error is None:
        return _proved(before, model, now, began)
    match error:
        case AccountSuspended():
            return SetAside("suspended", error.reason or "suspended")
        case ApplicationRefused():
            if account.flavour == "ide":
                return SwitchFlavour("runtime")
            return SetAside("misconfigured", error.reason or "application refused")
        case EncryptionRefused():
            return SetAside("misconfigured", error.reason or "encryption key refused")
        case ModelUnavailable():
            return _benched(before, model, now, MODEL_LACKING_S, lacking=True)
        case ModelOverloaded():
            wait_s = min(error.retry_after_s or MODEL_BUSY_S, MODEL_BUSY_S)
            return _benched(before, model, now, wait_s, lacking=False)
    rest = _rest(error, before, account, now, began)
    if rest is None:
        return before
    state, reason, rest_s = rest
    if before.resting_until >= now + rest_s:
        return before  # a longer rest is never shortened by a lesser refusal
    failures = before.failures if began < before.since else before.failures + 1
    return Health(state, reason, now, now + rest_s, failures, _current(before, now))


def after_recheck(before: Health, *, remaining: float | None, resets_at: float | None, now: float) -> Health:
    """An exhausted account whose credits were looked up: back on probation when there are some, else until the reset.

    `remaining` counts an overage that is switched on. A quota of the day or the hour can be spent while credits of
    the month are left, and Kiro's numbers lag behind: an account that was refused a moment ago rests on.
    """
    if before.state != "exhausted":
        return before
    if remaining is not None and remaining > 0:
        if now - before.since < BELIEVED_AFTER_S:
            return before
        return msgspec.structs.replace(before, resting_until=min(before.resting_until, now))
    if resets_at is not None and resets_at > now:
        return msgspec.structs.replace(before, resting_until=resets_at)
    return before


def _rest(
    error: KiroError, before: Health, account: Account, now: float, began: float
) -> tuple[Rest, str, float] | None:
    """State, reason and seconds; None for what is not the account's doing."""
    asked_s = (error.retry_after_s if isinstance(error, UpstreamError) else None) or None
    match error:
        case RateLimited(suspicious=True):
            rest_s = max(asked_s or SUSPICIOUS_REST_S, SUSPICIOUS_LEAST_S)
            return "throttled", "suspicious activity seen by Kiro", rest_s
        case RateLimited(reason="SERVICE_REQUEST_RATE_EXCEEDED"):
            return None  # everybody's limit, not the account's
        case RateLimited():
            earlier = before.failures - 1 if began < before.since else before.failures
            rest_s = min(FIRST_REST_S * 2.0 ** max(earlier, 0), LONGEST_REST_S)
            return "cooling", "rate limited", asked_s or rest_s
        case QuotaExhausted():
            return "exhausted", f"credits of the {error.period} are spent", asked_s or _until_reset(error, account, now)
        case TokenRejected():
            return "cooling", "token not accepted", asked_s or TOKEN_REST_S
        case ProfileRefused():
            return "cooling", "profile not accepted", asked_s or REFUSED_REST_S
        case ProfileMissing():
            return "cooling", "no profile found that Kiro asks for", asked_s or REFUSED_REST_S
        case AccessRefused():
            return "cooling", "access refused", asked_s or REFUSED_REST_S
        case SignInNeeded():
            return "cooling", "sign-in cannot be used", SIGN_IN_REST_S
        case _:
            return None


def _until_reset(error: QuotaExhausted, account: Account, now: float) -> float:
    """Seconds up to the reset that Kiro's usage told, for the quota of the month; else up to the next question."""
    usage = account.usage
    if error.period == "month" and usage is not None and usage.resets_at is not None:
        wait_s = usage.resets_at.timestamp() - now
        if wait_s > 0:
            return wait_s
    return QUOTA_REST_S[error.period]


def _proved(before: Health, model: str | None, now: float, began: float) -> Health:
    if before is FINE or began < before.resting_until:
        return before
    kept = tuple(one for one in _current(before, now) if one.model != model)
    return Health(benched=kept) if kept else FINE


def _benched(before: Health, model: str | None, now: float, for_s: float, *, lacking: bool) -> Health:
    if model is None:
        return before
    others = tuple(one for one in _current(before, now) if one.model != model)
    return msgspec.structs.replace(before, benched=(*others, Bench(model, now + for_s, lacking)))


def _current(before: Health, now: float) -> tuple[Bench, ...]:
    return tuple(one for one in before.benched if one.until > now)
