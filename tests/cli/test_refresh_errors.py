"""`kiro accounts refresh` when the sign-in service says no: what happened, and what to do about it."""

import pytest

from kiro.emulator.faults import HttpError

COMPANY = ("--start-url", "https://d-1234567890.awsapps.com/start", "--region", "eu-west-1")
SIGN_IN = {
    "google": (("google", "--device"), "`kiro login google` signs in again"),
    "builder_id": (("device",), "`kiro login device` signs in again"),
    "idc": (("device", *COMPANY), "`kiro login device --start-url https://d-1234567890.awsapps.com/start --region eu-west-1`"),
}  # fmt: skip
DEAD = ("InvalidGrantException", "InvalidClientException", "ExpiredTokenException", "InvalidRequestException")


@pytest.mark.parametrize("kind", SIGN_IN)
def test_a_dead_sign_in_names_the_command_that_helps(here, upstream, kind):
    arguments, hint = SIGN_IN[kind]
    here.run("login", *arguments, "--name", "mine")
    for person in list(upstream.people.persons.values()):
        upstream.people.revoke(person)
    done = here.run("accounts", "refresh")
    assert done.returncode == 3
    assert "error: mine: The sign-in service does not accept this sign-in any more" in done.stderr
    assert hint in done.stderr
    assert here.json("accounts", "list")[0]["state"] == "invalid"


def test_a_dead_company_sign_in_leads_to_the_company(here, upstream):
    here.ok("config", "set", "auth.external_hosts", "login.company.example")
    person = upstream.people.add("sue", "external_idp")
    arguments = ("--client-id", "c", "--token-endpoint", "https://login.company.example/tenant/oauth2/token")
    here.run("login", "token", *arguments, stdin=upstream.people.issue(person).refresh)
    upstream.people.revoke(person)
    assert "`kiro login company` signs in again" in here.run("accounts", "refresh").stderr


@pytest.mark.parametrize("shape", DEAD)
def test_every_answer_that_means_dead_is_told(here, upstream, shape):
    here.run("login", "device", "--name", "mine")
    upstream.faults.add(HttpError(400, shape=shape, message="Secret words."), operation="refresh")
    done = here.run("accounts", "refresh")
    assert done.returncode == 3
    assert "does not accept this sign-in any more" in done.stderr
    assert "Secret words" not in done.stderr


TROUBLE = {
    "throttled": (HttpError(429, retry_after_s=1), "asks to slow down"),
    "trouble": (HttpError(503), "gave HTTP 503"),
    "a page": (HttpError(200, raw="<html>"), "an answer without a token"),
    "forbidden": (HttpError(403), "refused the refresh with HTTP 403"),
}


@pytest.mark.parametrize(("fault", "said"), TROUBLE.values(), ids=TROUBLE.keys())
def test_passing_trouble_keeps_the_sign_in(here, upstream, fault, said):
    here.run("login", "google", "--device", "--name", "mine")
    upstream.faults.add(fault, operation="refresh")
    done = here.run("accounts", "refresh")
    assert done.returncode != 0
    assert said in done.stderr
    assert "hint: " in done.stderr
    assert here.json("accounts", "list")[0]["state"] == "active"
    assert here.run("accounts", "refresh").returncode == 0
