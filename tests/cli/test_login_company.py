"""`kiro login company`: through Kiro's portal to a company's own provider, in a browser."""

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

from support.terminal import Terminal

HOST = "login.company.example"


@pytest.fixture
def company(here, upstream, browser):
    upstream.sign_in.portal_option = "external_idp"
    here.env["BROWSER"] = browser
    return here


def accounts(kiro):
    return kiro.json("accounts", "list")


def test_the_host_is_shown_confirmed_and_gone_to(company, upstream):
    terminal = Terminal(company.env, "login", "company", "--name", "work")
    terminal.expect(f"goes to {HOST}")
    assert not [one for one in upstream.requests if "openid" in one.path]
    terminal.expect("Is that your company's? [y/N] ")
    terminal.type("y")
    assert terminal.status() == 0, terminal.seen
    account = accounts(company)[0]
    assert (account["kind"], account["name"], account["state"]) == ("external_idp", "work", "active")
    assert account["profile_arn"].startswith("arn:aws:codewhisperer:")
    assert "KIRO PRO" in terminal.seen
    assert "work: renewed" in company.run("accounts", "refresh", "work").stderr


def test_a_no_sends_nothing_there(company, upstream):
    terminal = Terminal(company.env, "login", "company")
    terminal.expect("[y/N] ")
    terminal.type("")
    assert terminal.status() == 1
    assert f"auth.external_hosts {HOST}" in terminal.seen
    assert not [one for one in upstream.requests if "openid" in one.path]
    assert accounts(company) == []


def test_ctrl_c_at_the_question_ends_with_status_4(company):
    terminal = Terminal(company.env, "login", "company")
    terminal.expect("[y/N] ")
    terminal.interrupt()
    assert terminal.status() == 4
    assert "Traceback" not in terminal.seen


def test_without_a_terminal_an_unknown_host_is_refused_and_an_allowed_one_is_not(company):
    done = company.run("login", "company")
    assert done.returncode == 1
    assert f"{HOST} was not confirmed" in done.stderr
    company.ok("config", "set", "auth.external_hosts", HOST)
    done = company.run("login", "company")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("option", ["builderid", "awsidc"])
def test_aws_chosen_on_the_portal_goes_on_with_aws(company, upstream, option):
    upstream.sign_in.portal_option = option
    done = company.run("login", "company")
    assert done.returncode == 0, done.stderr
    assert accounts(company)[0]["kind"] == {"builderid": "builder_id", "awsidc": "idc"}[option]


def test_an_error_of_the_company_is_told_with_a_hint(company, upstream):
    company.ok("config", "set", "auth.external_hosts", HOST)
    upstream.sign_in.company.token_error = "interaction_required"
    done = company.run("login", "company")
    assert done.returncode == 1
    assert "Your company's sign-in wants something" in done.stderr
    assert "hint: " in done.stderr
