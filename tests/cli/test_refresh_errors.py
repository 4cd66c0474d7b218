"""`kiro accounts refresh` when the sign-in service says no: what happened, and what to do about it."""

import pytest

from kiro.emulator.faults import HttpError

COMMANDS = {
    "social": "`kiro login google` signs in again",
    "builder_id": "`kiro login device` signs in again",
    "idc": "`kiro login device --start-url https://d-1234567890.awsapps.com/start --region eu-west-1` signs in again",
    "external_idp": "`kiro login company` signs in again",
}
DEAD = ("InvalidGrantException", "InvalidClientException", "ExpiredTokenException", "InvalidRequestException")


@pytest.mark.parametrize(("kind", "hint"), COMMANDS.items(), ids=COMMANDS.keys())
def test_a_dead_sign_in_names_the_command_that_helps(here, upstream, join, kind, hint):
    upstream.people.revoke(join(kind))
    status, _, err = here.call("accounts", "refresh")
    assert status == 3
    assert "error: mine: The sign-in service does not accept this sign-in any more" in err
    assert hint in err
    assert here.json("accounts", "list")[0]["state"] == "invalid"


@pytest.mark.parametrize("shape", DEAD)
def test_every_answer_that_means_dead_is_told(here, upstream, join, shape):
    join("builder_id")
    upstream.faults.add(HttpError(400, shape=shape, message="Secret words."), operation="refresh")
    status, _, err = here.call("accounts", "refresh")
    assert status == 3
    assert "does not accept this sign-in any more" in err
    assert "Secret words" not in err


TROUBLE = {
    "throttled": (HttpError(429, retry_after_s=1), "asks to slow down"),
    "trouble": (HttpError(503), "gave HTTP 503"),
    "a page": (HttpError(200, raw="<html>"), "an answer without a token"),
    "forbidden": (HttpError(403), "refused the refresh with HTTP 403"),
}


@pytest.mark.parametrize(("fault", "said"), TROUBLE.values(), ids=TROUBLE.keys())
def test_passing_trouble_keeps_the_sign_in(here, upstream, join, fault, said):
    join("social")
    upstream.faults.add(fault, operation="refresh")
    status, _, err = here.call("accounts", "refresh")
    assert status != 0
    assert said in err
    assert "hint: " in err
    assert here.json("accounts", "list")[0]["state"] == "active"
    assert here.call("accounts", "refresh")[0] == 0
