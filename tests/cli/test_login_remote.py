"""`kiro login remote`: the browser is somewhere else; the address comes back by hand or by a one-time link."""

import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from urllib.parse import parse_qsl, urlsplit

import pytest

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

from support.commandline import read_until, value
from support.terminal import Terminal

COMPANY = ("--start-url", "https://d-1234567890.awsapps.com/start", "--region", "eu-west-1")


@pytest.fixture
def served(here):
    """A home that a running server serves."""
    with here.started("serve", "--port", "0") as process:
        here.url = value(read_until(process, "base URL"), "base URL").strip()
        yield here


def accounts(kiro):
    return kiro.json("accounts", "list")


def get(url):
    try:
        with urllib.request.urlopen(url) as response:
            return response.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def post(url, address):
    data = urllib.parse.urlencode({"address": address}).encode()
    with urllib.request.urlopen(url, data) as response:
        return response.read().decode()


def signed_in_elsewhere(upstream, page):
    """The browser elsewhere: goes to the sign-in page; the address it cannot open."""
    query = dict(parse_qsl(urlsplit(page).query))
    return upstream.sign_in.authorize(query) if "scopes" in query else upstream.sign_in.portal(query)


def page_of(shown):
    found = re.search(r'href="([^"]+)"', shown)
    return found.group(1).replace("&amp;", "&")


def until(look, seconds=15):
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def test_a_one_time_link_of_the_running_server_takes_the_address(served, upstream):
    terminal = Terminal(served.env, "login", "remote", "google", "--name", "far")
    link = terminal.after("in a browser that reaches the server:")
    assert link.startswith(f"{served.url}/login/")
    terminal.expect("Ctrl-C stops.")
    shown = post(link, signed_in_elsewhere(upstream, page_of(get(link))))
    assert "handed to the terminal" in shown
    assert terminal.status() == 0, terminal.seen
    assert "You are signed in" in get(link)
    assert (accounts(served)[0]["name"], accounts(served)[0]["kind"]) == ("far", "social")


def test_a_wrong_address_is_told_on_the_page_and_may_be_mended(served, upstream):
    terminal = Terminal(served.env, "login", "remote")
    link = terminal.after("in a browser that reaches the server:")
    page = page_of(get(link))
    post(link, "http://localhost:3128/oauth/callback?code=c&state=wrong")
    until(lambda: "not the address of this sign-in" in get(link))
    post(link, signed_in_elsewhere(upstream, page))
    assert terminal.status() == 0, terminal.seen


def test_what_goes_on_elsewhere_goes_on_on_the_same_link(served, upstream):
    """Builder ID chosen on the portal needs a second page."""
    upstream.sign_in.portal_option = "builderid"
    terminal = Terminal(served.env, "login", "remote")
    link = terminal.after("in a browser that reaches the server:")
    post(link, signed_in_elsewhere(upstream, page_of(get(link))))
    page = until(lambda: "scopes=" in (shown := get(link)) and page_of(shown))
    post(link, signed_in_elsewhere(upstream, page))
    assert terminal.status() == 0, terminal.seen
    assert accounts(served)[0]["kind"] == "builder_id"


def test_where_nobody_types_the_link_is_enough(served, upstream):
    with served.started("login", "remote", "sso", *COMPANY) as process:
        seen = ""
        while "/login/" not in seen:
            seen = process.stderr.readline()
        link = seen.strip()
        post(link, signed_in_elsewhere(upstream, page_of(get(link))))
        assert process.wait(20) == 0
    assert accounts(served)[0]["kind"] == "idc"


def test_an_address_can_be_pasted_without_any_server(here, upstream):
    terminal = Terminal(here.env, "login", "remote", "github")
    page = terminal.after("Open this in a browser there:")
    terminal.expect("Ctrl-C stops.")
    assert "one-time link" not in terminal.seen
    terminal.type(signed_in_elsewhere(upstream, page))
    assert terminal.status() == 0, terminal.seen


def test_with_neither_a_server_nor_a_terminal_nothing_is_begun(here, upstream):
    done = here.run("login", "remote")
    assert done.returncode == 1
    assert "No kiro server of this home is running" in done.stderr
    assert "`kiro login device`" in done.stderr
    assert upstream.served == 0


def test_the_server_of_another_home_is_not_taken(served, tmp_path):
    port = served.url.rpartition(":")[2]
    other = served.env | {"KIRO_HOME": str(tmp_path / "other"), "KIRO_SERVER_PORT": port}
    terminal = Terminal(other | {"KIRO_VAULT_PASSPHRASE": "x"}, "login", "remote")
    terminal.expect("Open this in a browser there:")
    assert "one-time link" not in terminal.seen
    terminal.interrupt()
    assert terminal.status() == 4


def test_ctrl_c_ends_it_here_and_on_the_page(served, upstream):
    terminal = Terminal(served.env, "login", "remote")
    link = terminal.after("in a browser that reaches the server:")
    page = page_of(get(link))
    terminal.expect("Ctrl-C stops.")
    terminal.interrupt()
    assert terminal.status() == 4
    assert "Traceback" not in terminal.seen
    assert "stopped at its terminal" in get(link)
    post(link, signed_in_elsewhere(upstream, page))
    assert accounts(served) == []


def test_a_refusal_there_is_told_in_both_places(served, upstream):
    upstream.sign_in.portal_error = "access_denied"
    terminal = Terminal(served.env, "login", "remote")
    link = terminal.after("in a browser that reaches the server:")
    post(link, signed_in_elsewhere(upstream, page_of(get(link))))
    assert terminal.status() == 1
    assert "refused in the browser" in terminal.seen
    assert "refused in the browser" in get(link)


def test_a_code_is_on_the_page_too(served, upstream):
    upstream.sign_in._polls = None
    terminal = Terminal(served.env, "login", "remote", "device")
    link = terminal.after("in a browser that reaches the server:")
    code = re.search(r"<code>(.+)</code>", get(link)).group(1)
    assert terminal.after("code: ") == code
    upstream.sign_in.approve(code)
    assert terminal.status() == 0, terminal.seen


def test_the_terminal_alone_keeps_what_finishes_the_sign_in(served):
    """Neither the link's secret nor the sign-in's state or verifier lies in any file while it waits."""
    terminal = Terminal(served.env, "login", "remote")
    link = terminal.after("in a browser that reaches the server:")
    page = dict(parse_qsl(urlsplit(page_of(get(link))).query))
    files = [path for path in served.home.rglob("*") if path.is_file()]
    for text in (link.rpartition("/")[2], page["state"], page["code_challenge"]):
        assert not [path for path in files if text.encode() in path.read_bytes()]
    terminal.interrupt()
    terminal.status()


WRONG = {
    "a way there is none of": (("smoke",), "There is no way"),
    "sso without its place": (("sso",), "needs --start-url"),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG.keys())
def test_wrong_usage(here, arguments, said):
    done = here.run("login", "remote", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
