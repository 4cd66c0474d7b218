"""What to try after a failure: a pure decision.

Before the first event every failure may be hidden from the client, if trying again can help. Which
repeat helps depends on whose fault it was: a dead token wants a refresh, a wrong profile wants to be
looked up, a spent account wants another, a loaded model wants a moment, a request Kiro finds malformed
wants to be told to the client at once, because repeating it would burn every account in turn.
"""

import random
from typing import Final, TypeAlias

import msgspec

from kiro.errors import (
    AccessRefused,
    AccountSuspended,
    ApplicationRefused,
    ConversationTooLong,
    EmptyAnswer,
    EncryptionRefused,
    FieldsRefused,
    KiroError,
    ModelOverloaded,
    ModelUnavailable,
    NetworkFailed,
    ProfileMissing,
    ProfileRefused,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    SignatureRefused,
    SignInNeeded,
    StreamCut,
    TokenRejected,
    UpstreamBroken,
    UpstreamTimeout,
)

_LONGEST_WAIT_S: Final = 10.0
_EDGE_TIMEOUTS: Final = (522, 524)


class Repeat(msgspec.Struct, frozen=True):
    """The same account again, after a pause."""

    delay_s: float = 0.0


class RefreshAndRepeat(msgspec.Struct, frozen=True):
    """The same account with a new token."""


class RepeatWithout(msgspec.Struct, frozen=True):
    """The same account without `what`: replayed `thinking`, model `fields`, the `conversation id`, or `schema unions`."""

    what: str


class FindProfile(msgspec.Struct, frozen=True):
    """The same account with its profile looked up anew, or in the other region, if either tells something new."""


class NextAccount(msgspec.Struct, frozen=True):
    """Another account, if there is one."""


class GiveUp(msgspec.Struct, frozen=True):
    """Tell the client."""


Mending: TypeAlias = RefreshAndRepeat | FindProfile
Step: TypeAlias = Repeat | Mending | RepeatWithout | NextAccount | GiveUp


class Tries(msgspec.Struct, frozen=True):
    """What was tried so far: `here` with this account, `total` with all; `dropped` is what RepeatWithout left out.

    `failed` are the ids of the accounts that are not asked again for this request.
    """

    here: int = 1
    total: int = 1
    refreshed: bool = False
    located: bool = False
    dropped: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()


def decide(error: KiroError, tries: Tries, *, most_here: int, most: int, refreshable: bool, jitter: float) -> Step:
    """The next step. `jitter` is a random number of 0…1; `most_here` and `most` bound attempts per account and in all."""
    if tries.total >= most:
        return GiveUp()
    mending = mend(error, tries, refreshable=refreshable)
    if mending is not None:
        return mending
    match error:
        case SignatureRefused():
            return _once("thinking", tries)
        case FieldsRefused():
            return _once("fields", tries)
        case ConversationTooLong():
            return _once("conversation id", tries)
        case RequestRefused() if "invalid tool use format" in error.message.lower() and tries.here == 1:
            return Repeat()  # the byte-identical body sometimes passes the second time
        case RequestRefused(reason="TOOL_SCHEMA_INVALID"):
            return _once("schema unions", tries)
        case EmptyAnswer():
            return Repeat() if tries.here == 1 else GiveUp()
        case UpstreamTimeout() if error.upstream_status in _EDGE_TIMEOUTS:
            return GiveUp()  # Kiro is still working on it; a repeat would be billed twice
        case ModelOverloaded() | UpstreamBroken() | UpstreamTimeout() | NetworkFailed() | StreamCut():
            if tries.here < most_here:
                return Repeat(_pause(error.retry_after_s, tries.here, jitter))
            return NextAccount()
        case RateLimited(reason="SERVICE_REQUEST_RATE_EXCEEDED") if tries.here < most_here:
            return Repeat(_pause(error.retry_after_s, tries.here, jitter))
        case (
            SignInNeeded()
            | TokenRejected()
            | AccessRefused()
            | AccountSuspended()
            | ApplicationRefused()
            | ProfileRefused()
            | ProfileMissing()
            | EncryptionRefused()
            | QuotaExhausted()
            | RateLimited()
            | ModelUnavailable()
        ):
            return NextAccount()
        case _:
            return GiveUp()


def mend(error: KiroError, tries: Tries, *, refreshable: bool) -> Mending | None:
    """What may make the same account work, and was not tried yet: until then the refusal says nothing about it.

    Kiro binds token and profile, so a token that is refused right after a refresh hints at the profile.
    """
    match error:
        case TokenRejected() | AccessRefused() if refreshable and not tries.refreshed:
            return RefreshAndRepeat()
        case ProfileRefused() | ProfileMissing() | TokenRejected() if not tries.located:
            return FindProfile()
        case _:
            return None


def taken(step: Step, tries: Tries, account_id: str) -> Tries:
    """The tries before the next attempt, once `step` is done after a failure of this account."""
    match step:
        case NextAccount():
            return Tries(total=tries.total + 1, dropped=tries.dropped, failed=tries.failed | {account_id})
        case RepeatWithout(what=what):
            tries = msgspec.structs.replace(tries, dropped=tries.dropped | {what})
        case RefreshAndRepeat():
            tries = msgspec.structs.replace(tries, refreshed=True)
        case FindProfile():
            tries = msgspec.structs.replace(tries, located=True)
        case _:
            pass
    return msgspec.structs.replace(tries, here=tries.here + 1, total=tries.total + 1)


def new_jitter() -> float:
    return random.random()  # noqa: S311  spreads retries; nothing secret hangs on it


def _once(what: str, tries: Tries) -> Step:
    return GiveUp() if what in tries.dropped else RepeatWithout(what)


def _pause(asked_s: float | None, tries_here: int, jitter: float) -> float:
    """What Kiro asked for, else 1, 2, 4 … s; half of it at random."""
    if asked_s is not None:
        return min(asked_s, _LONGEST_WAIT_S)
    longest = min(2.0 ** (tries_here - 1), _LONGEST_WAIT_S)
    return float(longest * (0.5 + jitter / 2))
