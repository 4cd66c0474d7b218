"""After every sign-in, with everything logged: no secret on the screen, in a file, or among the processes."""

import json
import sys
import urllib.error
import urllib.request

import msgspec
import pytest

if sys.platform != "linux":
    pytest.skip("looks into /proc", allow_module_level=True)

from kiro.emulator.faults import HttpError
from support.commandline import read_until, value
from support.leaks import leaked

COMPANY = ("--start-url", "https://d-1234567890.awsapps.com/start", "--region", "eu-west-1")
HOST = "login.company.example"
NAMES = {
    "refreshToken", "refresh_token", "clientSecret", "deviceCode", "code", "code_verifier", "codeVerifier", "state",
    "userSessionId", "code_challenge",
}  # fmt: skip
"""Fields of requests whose values are secret while they live."""
PRIVATE = ("auth.external_hosts", HOST)


@pytest.fixture
def watched(here, tmp_path):
    """A home where everything is logged, with a browser that notes all processes with their arguments and variables."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    script = tmp_path / "browser.py"
    script.write_text(
        "import pathlib, sys, urllib.request\n"
        "seen = b''\n"
        "for one in pathlib.Path('/proc').glob('[0-9]*'):\n"
        "    for name in ('cmdline', 'environ'):\n"
        "        try:\n"
        "            seen += (one / name).read_bytes()\n"
        "        except OSError:\n"
        "            pass\n"
        f"with open({str(tmp_path / 'processes')!r}, 'ab') as file:\n"
        "    file.write(seen)\n"
        "urllib.request.urlopen(sys.argv[1].replace('localhost', '127.0.0.1')).read()\n"
    )
    here.env |= {
        "TMPDIR": str(folder),
        "KIRO_LOG_LEVEL": "debug",
        "KIRO_DEBUG": "1",
        "BROWSER": f"{sys.executable} {script} %s",
    }
    here.ok("config", "set", *PRIVATE)
    return here


def sign_in_by_all_ways(kiro, upstream):
    """What the commands said, in all ways there are."""
    people = upstream.people
    social, company, key = (people.add(kind, kind) for kind in ("social", "external_idp", "api_key"))
    pair = people.add("pair", "builder_id")
    endpoint = f"https://{HOST}/tenant/oauth2/token"
    with_client = ("--client-id", pair.client.id)
    ways = [
        ("google", "", ()),
        ("github", "", ("--device",)),
        ("device", "", ()),
        ("device", "", COMPANY),
        ("sso", "", COMPANY),
        ("company", "", ()),
        ("key", people.issue(key).access, ("--check",)),
        ("token", people.issue(social).refresh, ()),
        ("token", f"{people.issue(pair).refresh}\n{pair.client.secret}", with_client),
        ("token", people.issue(company).refresh, ("--client-id", "c", "--token-endpoint", endpoint)),
        ("sso-cookie", upstream.portal_cookie.cookie, ("--yes",)),
        ("token", "aorAAAAAGdeadEMULATOR" + "d" * 100, ()),
    ]
    said = ""
    for number, (way, stdin, arguments) in enumerate(ways):
        upstream.sign_in.portal_option = "external_idp" if way == "company" else "google"
        done = kiro.run("login", way, *arguments, "--name", f"a{number}", stdin=stdin)
        assert (done.returncode == 0) == ("dead" not in stdin), done.stderr
        said += done.stdout + done.stderr
    return said


def use_them_all(kiro, upstream):
    """A running server refreshes each account and serves with it."""
    for person in upstream.people.persons.values():
        if person.kind != "api_key":
            upstream.people.expire(person)
    body = json.dumps({"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}).encode()
    headers = {"x-api-key": kiro.ok("keys", "show", "laptop").strip(), "anthropic-version": "2023-06-01"}
    with kiro.started("serve", "--port", "0") as server:
        url = value(read_until(server, "base URL"), "base URL").strip()

        def ask(account):
            return urllib.request.urlopen(urllib.request.Request(f"{url}/a/{account}/v1/messages", body, headers))

        for account in kiro.json("accounts", "list"):
            with ask(account["name"]) as response:
                assert response.status == 200
        quoting = f"Slow down, {upstream.requests[0].bearer}."
        upstream.faults.add(HttpError(status=429, message=quoting))
        with pytest.raises(urllib.error.HTTPError, match="429") as refused:
            ask("a0")
        said = refused.value.read().decode()
        assert "Slow down" in said
        server.terminate()
        out, err = server.communicate(timeout=20)
    return out + err + said


def secrets_of(upstream):
    """Every token there ever was, and every value that was sent under a telling name."""
    found = {upstream.portal_cookie.cookie, "aorAAAAAGdeadEMULATOR" + "d" * 100}
    for one in upstream.requests:
        found |= {one.bearer}
        posted = one.posted() if one.operation != "generate" else {}
        found |= {str(text) for name, text in {**one.query, **(posted or {})}.items() if name in NAMES}
    found |= set(upstream.people._access) | set(upstream.people._refresh)
    found |= {client.secret for client in upstream.people.clients.values()}
    return {text for text in found if len(text) >= 8}


def test_no_secret_is_left_anywhere(watched, upstream, tmp_path):
    said = sign_in_by_all_ways(watched, upstream)
    assert (tmp_path / "processes").stat().st_size > 0
    said += use_them_all(watched, upstream)
    for account in watched.json("accounts", "list"):
        done = watched.run("accounts", "remove", account["name"], "--yes")
        said += done.stdout + done.stderr
    files = [path for path in (*watched.home.rglob("*"), *(tmp_path / "tmp").rglob("*")) if path.is_file()]
    assert {path.name for path in files} >= {"kiro.log", "kiro.db", "vault.json"}
    places = {str(path): path.read_bytes() for path in [*files, tmp_path / "processes"]} | {"said": said.encode()}
    known = secrets_of(upstream)
    assert len(known) > 60
    codes = [posted["code"] for one in upstream.requests if "code" in (posted := one.posted() or {})]
    assert len(codes) >= 3
    assert known.issuperset(codes)
    beginnings = {text: text[:12] for text in known}
    assert {place: found for place, data in places.items() if (found := leaked(beginnings, data))} == {}


def test_it_would_have_been_found(upstream):
    """The list of secrets holds what it should: a token that was issued, and a code that was sent."""
    token = upstream.people.issue(upstream.people.add("sue"))
    request = urllib.request.Request(
        f"{upstream.url}/oauth/device/poll", msgspec.json.encode({"deviceCode": "device-secret-1"})
    )
    with urllib.request.urlopen(request):
        pass
    assert {token.access, token.refresh, "device-secret-1"} <= secrets_of(upstream)
