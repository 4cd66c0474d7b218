"""The pages of a sign-in in a real browser: Kiro's portal, and the page of a one-time link."""

import re
import shutil
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

from support.commandline import read_until, value
from support.terminal import Terminal

pytestmark = pytest.mark.e2e

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-proxy-server",
]
HERE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"
"""Nothing but this computer exists."""
ELSEWHERE = "--host-resolver-rules=MAP localhost 127.0.0.2, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
"""And, as on another machine, nobody listens at localhost there."""


@pytest.fixture
def chromium():
    """Opens a page; `resolve` says which names there are."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "this group needs Chromium"
    with sync_playwright() as playwright:
        opened = []

        def page(resolve=HERE):
            browser = playwright.chromium.launch(executable_path=program, args=[*FLAGS, resolve])
            opened.append(browser)
            made = browser.new_context().new_page()
            made.set_default_timeout(20_000)
            return made

        yield page
        for browser in opened:
            browser.close()


@pytest.fixture
def portal(here, upstream):
    """The portal waits for a click; the system's browser is one that does nothing."""
    upstream.sign_in.portal_waits = True
    here.env["BROWSER"] = "true %s"
    return here


def kinds(kiro):
    return [(one["kind"], one["provider"]) for one in kiro.json("accounts", "list")]


WAYS = {
    "Google": ("google", [("social", "Google")]),
    "GitHub": ("github", [("social", "Github")]),
    "AWS Builder ID": ("company", [("builder_id", "BuilderId")]),
    "Your company's provider": ("company", [("external_idp", "ExternalIdp")]),
}


@pytest.mark.parametrize(("choice", "way", "account"), [(choice, *rest) for choice, rest in WAYS.items()], ids=WAYS)
def test_what_is_clicked_on_the_portal_signs_in(portal, chromium, choice, way, account):
    portal.ok("config", "set", "auth.external_hosts", "login.company.example")
    terminal = Terminal(portal.env, "login", way)
    page = chromium()
    page.goto(terminal.after("If it does not, open"))
    page.get_by_role("link", name=choice).click()
    page.get_by_role("heading", name="You are signed in").wait_for()
    if way == "company":  # the portal is done, the second page follows
        starts = re.findall(r"If it does not, open (\S+)", until_twice(terminal))
        page.goto(starts[1])
        page.get_by_text("You are signed in. This page can be closed.").wait_for()
    assert terminal.status() == 0, terminal.seen
    assert kinds(portal) == account


def until_twice(terminal):
    terminal.expect("open http", 20)
    while terminal.seen.count("If it does not, open http") < 2 or not terminal.seen.endswith("\n"):
        terminal._read()
    return terminal.seen


def test_the_page_of_a_one_time_link_finishes_a_sign_in_from_elsewhere(portal, chromium):
    with portal.started("serve", "--port", "0") as server:
        value(read_until(server, "base URL"), "base URL")
        terminal = Terminal(portal.env, "login", "remote")
        page = chromium(ELSEWHERE)
        complaints = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(terminal.after("in a browser that reaches the server:"))
        with page.expect_popup() as opened:
            page.get_by_role("link", name="Open the sign-in page").click()
        elsewhere = opened.value
        assert elsewhere.evaluate("document.referrer") == ""
        assert elsewhere.evaluate("window.opener") is None
        with elsewhere.expect_event("requestfailed") as failed:
            elsewhere.get_by_role("link", name="GitHub").click()
        address = failed.value.url
        assert address.startswith("http://localhost:")
        page.get_by_label("address").fill("http://localhost:1/oauth/callback?state=other&code=c")
        page.get_by_role("button", name="Finish").click()
        page.get_by_text("This was not the address of this sign-in.").wait_for()
        page.get_by_label("address").fill(address)
        page.get_by_role("button", name="Finish").click()
        page.get_by_text("You are signed in. This page can be closed.").wait_for()
        assert terminal.status() == 0, terminal.seen
        assert complaints == []
    assert kinds(portal) == [("social", "Github")]
