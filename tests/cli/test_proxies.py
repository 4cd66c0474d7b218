"""Proxies as a person sets and sees them."""

import json
import time
import urllib.request

import pytest

from support.commandline import read_until, value

PASSWORD = "s3cr3t-of-the-proxy"
ADDRESS = f"socks5://me:{PASSWORD}@127.0.0.1:9"


def files_with_it(kiro):
    return [path for path in kiro.home.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]


def test_an_accounts_proxy_is_shown_without_its_password(signed_in):
    done = signed_in.run("accounts", "set", "first", "--proxy", "-", stdin=f"{ADDRESS}\n")
    assert done.returncode == 0, done.stderr
    shown = signed_in.ok("accounts", "show", "first") + signed_in.ok("accounts", "list") + signed_in.ok("status")
    assert "socks5://me:" in shown
    assert PASSWORD not in shown + signed_in.ok("accounts", "show", "first", "--json") + done.stdout + done.stderr
    assert files_with_it(signed_in) == []


def test_the_password_of_the_proxy_for_all_goes_into_the_vault(signed_in):
    done = signed_in.run("config", "set", "upstream.proxy", "-", stdin=f"{ADDRESS}\n")
    assert done.returncode == 0, done.stderr
    assert "upstream.proxy is now socks5://me@127.0.0.1:9" in done.stderr
    assert "warning" not in done.stderr
    assert signed_in.ok("config", "get", "upstream.proxy").strip() == "socks5://me@127.0.0.1:9"
    assert files_with_it(signed_in) == []
    status, _, err = signed_in.call("accounts", "usage")
    assert status == 1
    assert "Kiro cannot be reached" in err


def test_it_is_used_with_its_password(kiro, signed_in, proxy_login):
    """A real proxy in a thread: it lets in only who knows the password."""
    forward, address = proxy_login
    signed_in.ok("config", "set", "upstream.proxy", address)
    signed_in.ok("accounts", "usage")
    assert {login for login, _ in forward.used} == {f"me:{PASSWORD}"}
    signed_in.ok("config", "unset", "upstream.proxy")
    before = len(forward.used)
    signed_in.ok("accounts", "usage")
    assert len(forward.used) == before
    signed_in.ok("config", "set", "upstream.proxy", address.replace(f":{PASSWORD}", ""))
    assert signed_in.call("accounts", "usage")[0] == 1
    assert forward.refused == 1


def test_the_way_to_the_proxy_may_be_encrypted(signed_in, encrypted_proxy):
    forward, address, certificate = encrypted_proxy
    signed_in.ok("config", "set", "upstream.proxy", address)
    done = signed_in.run("accounts", "usage")
    assert done.returncode == 1
    assert "Kiro cannot be reached" in done.stderr
    assert forward.used == []
    done = signed_in.run("accounts", "usage", SSL_CERT_FILE=str(certificate))
    assert done.returncode == 0, done.stderr
    assert {login for login, _ in forward.used} == {f"me:{PASSWORD}"}


def test_a_running_server_takes_a_new_one_over(signed_in, proxy_login):
    forward, address = proxy_login
    with signed_in.started("serve", "--port", "0") as process:
        banner = read_until(process, "Claude Code")
        url, key = value(banner, "base URL"), value(banner, "client key")
        signed_in.ok("config", "set", "upstream.proxy", address)
        for _ in range(100):
            ask(url, key)
            if forward.used:
                break
            time.sleep(0.05)
    assert {login for login, _ in forward.used} == {f"me:{PASSWORD}"}


def ask(url, key):
    body = {"model": "claude-sonnet-4.5", "max_tokens": 5000, "messages": [{"role": "user", "content": "Hello!"}]}
    request = urllib.request.Request(f"{url}/v1/messages", json.dumps(body).encode(), {"x-api-key": key})
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.status == 200


@pytest.mark.parametrize("address", ["ftp://x:1", "nonsense", "http://"])
def test_what_is_no_proxy_is_refused(signed_in, address):
    assert signed_in.call("accounts", "set", "first", "--proxy", address)[0] == 2
    assert signed_in.call("config", "set", "upstream.proxy", address)[0] == 2
