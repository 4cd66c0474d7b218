"""What is tried after a failure."""

import pytest

from kiro import errors
from kiro.relay.retry import GiveUp, NextAccount, RefreshAndRepeat, Repeat, RepeatWithout, Tries, decide

HERE, ALL = 3, 9


def step(error, tries=Tries(), *, refreshable=True, jitter=1.0):
    return decide(error, tries, most_here=HERE, most=ALL, refreshable=refreshable, jitter=jitter)


def edge_timeout():
    return errors.UpstreamTimeout("edge", upstream_status=524)


def fleet():
    return errors.RateLimited("fleet", reason="SERVICE_REQUEST_RATE_EXCEEDED")


@pytest.mark.parametrize(
    ("error", "tries", "want"),
    [
        (errors.TokenRejected("x"), Tries(), RefreshAndRepeat()),
        (errors.TokenRejected("x"), Tries(2, 2, refreshed=True), NextAccount()),
        (errors.AccessRefused("x"), Tries(), RefreshAndRepeat()),
        (errors.AccessRefused("x"), Tries(2, 2, refreshed=True), NextAccount()),
        (errors.AccountSuspended("x"), Tries(), NextAccount()),
        (errors.ApplicationRefused("x"), Tries(), NextAccount()),
        (errors.ProfileRefused("x"), Tries(), NextAccount()),
        (errors.QuotaExhausted("x"), Tries(), NextAccount()),
        (errors.RateLimited("x"), Tries(), NextAccount()),
        (fleet(), Tries(), Repeat(1.0)),
        (fleet(), Tries(3, 3), NextAccount()),
        (errors.ModelOverloaded("x"), Tries(), Repeat(1.0)),
        (errors.ModelOverloaded("x"), Tries(2, 2), Repeat(2.0)),
        (errors.ModelOverloaded("x"), Tries(3, 3), NextAccount()),
        (errors.ModelOverloaded("x", retry_after_s=4), Tries(), Repeat(4.0)),
        (errors.ModelOverloaded("x", retry_after_s=400), Tries(), Repeat(10.0)),
        (errors.ModelUnavailable("x"), Tries(), NextAccount()),
        (errors.UpstreamBroken("x"), Tries(), Repeat(1.0)),
        (errors.NetworkFailed("x"), Tries(), Repeat(1.0)),
        (errors.StreamCut("x"), Tries(), Repeat(1.0)),
        (errors.UpstreamTimeout("x"), Tries(), Repeat(1.0)),
        (edge_timeout(), Tries(), GiveUp()),
        (errors.EmptyAnswer("x"), Tries(), Repeat()),
        (errors.EmptyAnswer("x"), Tries(2, 2), GiveUp()),
        (errors.SignatureRefused("x"), Tries(), RepeatWithout("thinking")),
        (errors.SignatureRefused("x"), Tries(2, 2, dropped=frozenset({"thinking"})), GiveUp()),
        (errors.FieldsRefused("x"), Tries(), RepeatWithout("fields")),
        (errors.ConversationTooLong("x"), Tries(), RepeatWithout("conversation id")),
        (errors.RequestRefused("Invalid tool use format."), Tries(), Repeat()),
        (errors.RequestRefused("Invalid tool use format."), Tries(2, 2), GiveUp()),
        (errors.RequestRefused("Improperly formed request."), Tries(), GiveUp()),
        (errors.RequestRefused("x", reason="TOOL_SCHEMA_INVALID"), Tries(), RepeatWithout("schema unions")),
        (errors.ContextOverflow(2, 1), Tries(), GiveUp()),
        (errors.InvalidRequest("x"), Tries(), GiveUp()),
        (errors.SignInNeeded("x"), Tries(), NextAccount()),
        (errors.NetworkFailed("x"), Tries(1, ALL), GiveUp()),
    ],
    ids=lambda value: f"{type(value).__name__} {value}"[:60],
)
def test_steps(error, tries, want):
    assert step(error, tries) == want


def test_a_key_that_cannot_be_refreshed_is_not():
    assert step(errors.TokenRejected("x"), refreshable=False) == NextAccount()


def test_half_of_a_pause_is_random():
    assert step(errors.ModelOverloaded("x"), jitter=0.0) == Repeat(0.5)


def test_no_failure_is_tried_for_ever():
    for error in (
        errors.ModelOverloaded("x"),
        errors.TokenRejected("x"),
        errors.EmptyAnswer("x"),
        errors.SignatureRefused("x"),
    ):
        tries, steps = Tries(), 0
        while not isinstance(now := step(error, tries), GiveUp):
            steps += 1
            dropped = tries.dropped | {now.what} if isinstance(now, RepeatWithout) else tries.dropped
            here = 1 if isinstance(now, NextAccount) else tries.here + 1
            tries = Tries(here, tries.total + 1, tries.refreshed or isinstance(now, RefreshAndRepeat), dropped)
        assert steps < ALL
