"""What is tried after a failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro import errors
from kiro.relay.retry import (
    FindProfile,
    GiveUp,
    NextAccount,
    RefreshAndRepeat,
    Repeat,
    RepeatWithout,
    Tries,
    decide,
    mend,
    taken,
)

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
        (errors.TokenRejected("x"), Tries(2, 2, refreshed=True), FindProfile()),
        (errors.TokenRejected("x"), Tries(3, 3, refreshed=True, located=True), NextAccount()),
        (errors.AccessRefused("x"), Tries(), RefreshAndRepeat()),
        (errors.AccessRefused("x"), Tries(2, 2, refreshed=True), NextAccount()),
        (errors.AccountSuspended("x"), Tries(), NextAccount()),
        (errors.ApplicationRefused("x"), Tries(), NextAccount()),
        (errors.ProfileRefused("x"), Tries(), FindProfile()),
        (errors.ProfileRefused("x"), Tries(2, 2, located=True), NextAccount()),
        (errors.ProfileMissing("x"), Tries(), FindProfile()),
        (errors.ProfileMissing("x"), Tries(2, 2, located=True), NextAccount()),
        (errors.EncryptionRefused("x"), Tries(), NextAccount()),
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
    assert step(errors.AccessRefused("x"), refreshable=False) == NextAccount()
    assert step(errors.TokenRejected("x"), Tries(located=True), refreshable=False) == NextAccount()


def test_half_of_a_pause_is_random():
    assert step(errors.ModelOverloaded("x"), jitter=0.0) == Repeat(0.5)


FAILURES = (
    errors.TokenRejected("x"),
    errors.AccessRefused("x"),
    errors.ProfileRefused("x"),
    errors.QuotaExhausted("x"),
    errors.RateLimited("x"),
    fleet(),
    errors.ModelOverloaded("x"),
    errors.ModelUnavailable("x"),
    errors.ConversationTooLong("x"),
    errors.SignatureRefused("x"),
    errors.FieldsRefused("x"),
    errors.RequestRefused("x", reason="TOOL_SCHEMA_INVALID"),
    errors.RequestRefused("Invalid tool use format."),
    errors.UpstreamBroken("x"),
    edge_timeout(),
    errors.NetworkFailed("x"),
    errors.StreamCut("x"),
    errors.EmptyAnswer("x"),
    errors.SignInNeeded("x"),
)


@given(st.lists(st.sampled_from(FAILURES), min_size=ALL, max_size=ALL))
def test_whatever_fails_in_whatever_order_comes_to_an_end(failures):
    """Nine tries at most; each remedy once per account, what is left out once per request; no account again."""
    tries, done, asked = Tries(), [], []
    for number, error in enumerate(failures, 1):
        account = f"account {len(tries.failed)}"
        asked.append(account)
        now = step(error, tries)
        if isinstance(now, GiveUp):
            break
        if isinstance(now, RefreshAndRepeat | FindProfile):
            assert (account, now) not in done
        if isinstance(now, RepeatWithout):
            assert now not in done
        done += [(account, now), now]
        tries = taken(now, tries, account)
        assert tries.total == number + 1
    assert isinstance(now, GiveUp)
    assert asked == sorted(asked)


def test_another_account_starts_anew_but_for_what_concerns_the_request():
    tries = Tries(3, 5, refreshed=True, located=True, dropped=frozenset({"fields"}), failed=frozenset({"a"}))
    assert taken(NextAccount(), tries, "b") == Tries(1, 6, dropped=tries.dropped, failed=frozenset({"a", "b"}))


def test_the_same_account_remembers_what_was_tried():
    tries = Tries()
    for done in (Repeat(), RefreshAndRepeat(), FindProfile(), RepeatWithout("thinking")):
        tries = taken(done, tries, "a")
    assert tries == Tries(5, 5, refreshed=True, located=True, dropped=frozenset({"thinking"}))


def test_a_refusal_says_nothing_about_an_account_while_something_may_mend_it():
    assert mend(errors.AccessRefused("x"), Tries(), refreshable=True) == RefreshAndRepeat()
    assert mend(errors.AccessRefused("x"), Tries(refreshed=True), refreshable=True) is None
    assert mend(errors.RateLimited("x"), Tries(), refreshable=True) is None
