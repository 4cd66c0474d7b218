"""`kiro login token` and `kiro login sso-cookie`: at a hidden prompt, and from stdin."""

import sys

import pytest

from kiro.emulator.faults import HttpError

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

from support.terminal import Terminal

COMPANY = ("--start-url", "https://d-1234567890.awsapps.com/start", "--region", "eu-west-1")
ENDPOINT = "https://login.company.example/tenant/oauth2/token"


def accounts(kiro):
    return kiro.json("accounts", "list")


def issued(upstream, kind):
    person = upstream.people.add("sue", kind)
    return person, upstream.people.issue(person).refresh


# -- a refresh token


def test_a_token_is_typed_unseen_and_ends_with_an_account_that_works(here, upstream):
    _, token = issued(upstream, "social")
    terminal = Terminal(here.env, "login", "token", "--name", "mine")
    terminal.expect("Refresh token: ")
    terminal.type(token)
    assert terminal.status() == 0, terminal.seen
    assert token not in terminal.seen
    for text in ("mine is added.", "sue@example.com", "KIRO PRO", "12.5 of 1000"):
        assert text in terminal.seen
    assert (accounts(here)[0]["kind"], accounts(here)[0]["state"]) == ("social", "active")
    assert "mine: renewed" in here.run("accounts", "refresh", "mine").stderr


def test_a_token_with_its_client_asks_for_the_secret_too(here, upstream):
    person, token = issued(upstream, "builder_id")
    terminal = Terminal(here.env, "login", "token", "--client-id", person.client.id)
    terminal.expect("Refresh token: ")
    terminal.type(token)
    terminal.expect("Client secret: ")
    terminal.type(person.client.secret)
    assert terminal.status() == 0, terminal.seen
    assert person.client.secret not in terminal.seen
    assert accounts(here)[0]["kind"] == "builder_id"


def test_both_secrets_may_come_from_stdin_a_line_each(here, upstream):
    person, token = issued(upstream, "idc")
    done = here.run(
        "login", "token", "--client-id", person.client.id, *COMPANY, stdin=f"{token}\n{person.client.secret}\n"
    )
    assert done.returncode == 0, done.stderr
    assert accounts(here)[0]["kind"] == "idc"
    assert accounts(here)[0]["profile_arn"] == person.profile_arn


def test_a_token_of_a_companys_provider_has_its_host_confirmed(here, upstream):
    _, token = issued(upstream, "external_idp")
    terminal = Terminal(here.env, "login", "token", "--client-id", "c", "--token-endpoint", ENDPOINT)
    terminal.expect("Refresh token: ")
    terminal.type(token)
    terminal.expect("goes to login.company.example")
    terminal.expect("[y/N]")
    terminal.type("y")
    assert terminal.status() == 0, terminal.seen
    assert accounts(here)[0]["kind"] == "external_idp"
    assert "renewed" in here.run("accounts", "refresh").stderr


def test_where_nobody_can_confirm_the_host_it_has_to_be_allowed_before(here, upstream):
    _, token = issued(upstream, "external_idp")
    arguments = ("login", "token", "--client-id", "c", "--token-endpoint", ENDPOINT)
    done = here.run(*arguments, stdin=token)
    assert done.returncode == 1
    assert "`kiro config set auth.external_hosts login.company.example`" in done.stderr
    assert accounts(here) == []
    here.ok("config", "set", "auth.external_hosts", "login.company.example")
    assert here.run(*arguments, stdin=token).returncode == 0


REFUSED = {
    "nothing": ("", "No refresh token was given"),
    "a shortened one": ("aorAAAAAG...xyz", "is shortened"),
}


@pytest.mark.parametrize(("typed", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_a_token_is_wrong_usage(here, upstream, typed, said):
    done = here.run("login", "token", stdin=typed)
    assert done.returncode == 2
    assert said in done.stderr
    assert "hint: " in done.stderr
    assert upstream.served == 0


def test_a_dead_token_adds_nothing_and_is_not_shown(here):
    done = here.run("login", "token", stdin="aor" + "x" * 120)
    assert done.returncode == 1
    assert "does not accept this refresh token" in done.stderr
    assert "hint: " in done.stderr
    assert "xxxx" not in done.stderr
    assert accounts(here) == []


def test_a_service_with_trouble_adds_nothing(here, upstream):
    _, token = issued(upstream, "social")
    upstream.faults.add(HttpError(503), operation="refresh")
    assert here.run("login", "token", stdin=token).returncode == 1
    assert here.run("login", "token", stdin=token).returncode == 0


def test_a_token_is_never_an_argument(here):
    assert here.run("login", "token", "aorAAAA").returncode == 2


# -- the cookie of AWS's portal


def test_the_cookie_is_warned_about_confirmed_and_never_seen(here, upstream):
    upstream.sign_in._polls = None
    terminal = Terminal(here.env, "login", "sso-cookie")
    terminal.expect("a whole session of AWS's sign-in portal")
    terminal.expect("Go on with the cookie? [y/N] ")
    terminal.type("y")
    terminal.expect("x-amz-sso_authn: ")
    terminal.type(upstream.portal_cookie.cookie)
    assert terminal.status() == 0, terminal.seen
    assert upstream.portal_cookie.cookie not in terminal.seen
    assert accounts(here)[0]["kind"] == "builder_id"


def test_a_no_to_the_warning_ends_with_status_4(here, upstream):
    terminal = Terminal(here.env, "login", "sso-cookie")
    terminal.expect("[y/N]")
    terminal.type("")
    assert terminal.status() == 4
    assert upstream.served == 0


def test_scripts_say_yes_themselves(here, upstream):
    cookie = upstream.portal_cookie.cookie
    refused = here.run("login", "sso-cookie", stdin=cookie)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert here.run("login", "sso-cookie", "--yes", stdin=cookie).returncode == 0


def test_a_cookie_that_is_not_accepted_is_told(here):
    done = here.run("login", "sso-cookie", "--yes", stdin="other")
    assert done.returncode == 1
    assert "does not accept this cookie" in done.stderr


def test_the_cookie_is_nowhere_afterwards(here, upstream):
    cookie = upstream.portal_cookie.cookie
    here.run("login", "sso-cookie", "--yes", stdin=cookie, KIRO_LOG_LEVEL="debug")
    files = [path for path in here.home.rglob("*") if path.is_file()]
    assert not [path for path in files if cookie.encode() in path.read_bytes()]
