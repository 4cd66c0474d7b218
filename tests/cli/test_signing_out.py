"""`kiro accounts remove`: the secrets here, then the session at its service, and never the account itself."""

import json
from pathlib import Path

import pytest

import kiro.auth
from kiro.auth.credentials import SocialCredentials
from kiro.auth.logout import logout_request
from kiro.auth.refresh import RefreshUrls
from kiro.emulator.faults import HttpError
from kiro.emulator.seed import social_file
from kiro.redaction import Secret


@pytest.fixture
def mine(here, join):
    """A home with a sign-in of its own."""
    join("social")
    return here


def told(upstream):
    return [one for one in upstream.requests if one.path == "/logout"]


def dead(upstream):
    return not upstream.people._refresh


def test_the_session_is_ended_after_the_secrets_are_gone(mine, upstream):
    done = mine.run("accounts", "remove", "mine")
    assert done.returncode == 0
    assert "ended at Kiro, too" in done.stderr
    assert mine.json("accounts", "list") == []
    assert len(told(upstream)) == 1
    assert dead(upstream)


def test_nothing_else_is_asked_of_the_service(mine, upstream):
    mine.run("accounts", "remove", "mine")
    assert [(one.method, one.path) for one in upstream.requests] == [("POST", "/logout")]


def test_it_can_stay_local(mine, upstream):
    done = mine.run("accounts", "remove", "mine", "--no-revoke")
    assert done.returncode == 0
    assert told(upstream) == []
    assert not dead(upstream)


@pytest.mark.parametrize("status", [400, 500])
def test_a_service_that_refuses_is_a_remark(mine, upstream, status):
    upstream.faults.add(HttpError(status), operation="logout")
    done = mine.run("accounts", "remove", "mine")
    assert done.returncode == 0
    assert f"warning: The sign-in could not be ended at Kiro: it answered with HTTP {status}." in done.stderr
    assert mine.json("accounts", "list") == []


def test_a_service_that_cannot_be_reached_is_a_remark(mine):
    done = mine.run("accounts", "remove", "mine", KIRO_AUTH_SOCIAL_URL="http://127.0.0.1:9")
    assert done.returncode == 0
    assert "could not be ended at Kiro" in done.stderr
    assert mine.json("accounts", "list") == []


def test_it_goes_through_the_accounts_own_proxy(mine, upstream):
    mine.ok("accounts", "set", "mine", "--proxy", "http://127.0.0.1:9")
    assert "could not be ended" in mine.run("accounts", "remove", "mine").stderr
    assert told(upstream) == []


def test_a_sign_in_that_follows_another_program_goes_on_there(here, upstream, tmp_path):
    file = tmp_path / "kiro-auth-token.json"
    file.write_text(json.dumps(social_file(upstream, upstream.people.add("sue"))))
    here.ok("accounts", "import", str(file), "--follow", "--name", "followed")
    assert here.run("accounts", "remove", "followed").returncode == 0
    assert told(upstream) == []
    assert not dead(upstream)


@pytest.mark.parametrize("kind", ["builder_id", "idc", "external_idp"])
def test_aws_and_companies_have_nothing_to_be_told(here, upstream, join, kind):
    join(kind)
    done = here.run("accounts", "remove", "mine")
    assert (done.returncode, done.stderr) == (0, "mine is removed.\n")
    assert not upstream.requests


def test_the_account_itself_is_never_deleted():
    """Of all requests of the sign-in code none is a DELETE, and none goes to the path of accounts."""
    for file in Path(kiro.auth.__file__).parent.glob("*.py"):
        text = file.read_text("utf-8")
        assert '"DELETE"' not in text
        assert '"/account"' not in text
    assert logout_request(_social(), RefreshUrls()).url.endswith("/logout")


def _social():
    return SocialCredentials(refresh_token=Secret("r"))
