"""After all flows, with debug logging on, no secret is anywhere but in the vault."""

import base64
import json
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kiro.emulator.faults import ErrorFrame, ExceptionFrame, HttpError
from kiro.emulator.seed import social_file
from kiro.emulator.server import Emulator, running_in_thread
from support.commandline import environment, read_until, value
from support.leaks import leaked, secrets_of

if sys.platform == "win32":
    pytest.skip("the browser and the editor of this test are POSIX scripts", allow_module_level=True)

CASES = Path(__file__).parents[1] / "cases" / "auth"
EXPORT_PASSPHRASE = "correct horse battery staple"
PROXY_PASSWORD = "proxy-password-0123456789"
OTHER_PROXY_PASSWORD = "other/pass word+0123456789"
CLIENT_KEY = "sk-client-key-0123456789abcdef"
WRONG_KEY = "sk-wrong-key-0123456789abcdefgh"
COMPANY = ("--start-url", "https://d-1234567890.awsapps.com/start", "--region", "eu-west-1")
CHILD = (
    "import json, os, pathlib, sys; pathlib.Path(sys.argv[1]).open('a').write(json.dumps([sys.argv, dict(os.environ)]))"
)
VISIT = "; import urllib.request as u; u.urlopen(sys.argv[2].replace('localhost', '127.0.0.1')).read()"


class House:
    """A home, its Kiro, and all that is said while it is used: `said` and `answered` by the name of the step."""

    def __init__(self, folder: Path, emulator: Emulator) -> None:
        self.folder = folder
        self.emulator = emulator
        self.home = folder / "home"
        self.outside = folder / "outside"
        self.temp = folder / "temp"
        self.children = folder / "children"
        for made in (self.outside, self.temp, folder / "sue"):
            made.mkdir()
        browser = f'{sys.executable} -c "{CHILD}{VISIT}" {self.children} %s'
        urls = dict.fromkeys(("KIRO_UPSTREAM_URL", "KIRO_AUTH_SOCIAL_URL", "KIRO_AUTH_OIDC_URL"), emulator.url)
        self.env = environment(self.home, **urls) | {
            "HOME": str(folder / "sue"),
            "TMPDIR": str(self.temp),
            "BROWSER": browser,
            "EDITOR": f'{sys.executable} -c "{CHILD}" {self.children}',
            "KIRO_LOG_LEVEL": "debug",
            "KIRO_DEBUG": "1",
            "KIRO_EXPORT_PASSPHRASE": EXPORT_PASSPHRASE,
            "PYTHONASYNCIODEBUG": "1",
            "PYTHONWARNINGS": "default",
        }
        for name in ("SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "VISUAL"):
            self.env.pop(name, None)
        self.said: dict[str, bytes] = {}
        self.answered: dict[str, bytes] = {}
        self.secrets: dict[str, str] = {
            EXPORT_PASSPHRASE: "the passphrase of the export",
            PROXY_PASSWORD: "a proxy password",
            OTHER_PROXY_PASSWORD: "a proxy password",
            CLIENT_KEY: "a client key",
            WRONG_KEY: "a wrong client key",
        }

    def learn(self) -> None:
        """Refresh tokens are forgotten when they rotate, so what is secret is noted after every step."""
        self.secrets |= secrets_of(self.emulator)

    def run(self, *arguments: str, status: int = 0, stdin: str = "", **env: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "kiro", *arguments],
            input=stdin.encode(),
            capture_output=True,
            env=self.env | env,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, (arguments, done.stderr.decode())
        self.said[f"{len(self.said)} {' '.join(arguments)}"] = done.stdout + b"\n" + done.stderr
        self.learn()
        return done.stdout.decode()

    def ask(self, step: str, url: str, headers: dict[str, str], body: object | None) -> None:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"content-type": "application/json", **headers})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                answer, told = response.read(), response.headers
        except urllib.error.HTTPError as error:
            answer, told = error.read(), error.headers
        except (OSError, urllib.error.URLError) as error:  # a stream that was cut on purpose
            answer, told = str(error).encode(), {}
        self.answered[f"{len(self.answered)} {step}"] = str(told).encode() + b"\n" + answer
        self.learn()

    def file(self, name: str, document: object) -> str:
        path = self.outside / name
        path.write_text(json.dumps(document))
        path.chmod(0o600)
        return str(path)


def every_kind(house: House) -> list[dict[str, object]]:
    """A sign-in of each kind, as other programs keep them."""
    people = house.emulator.people
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    records: list[dict[str, object]] = [social_file(house.emulator, people.add("ann")) | {"nickname": "ann"}]
    for kind in ("builder_id", "idc", "external_idp"):
        person = people.add(kind, kind)
        tokens = people.issue(person)
        record = {"accessToken": tokens.access, "refreshToken": tokens.refresh, "expiresAt": ends, "nickname": kind}
        record |= {"authMethod": kind.replace("_", "-") if kind == "builder_id" else kind, "email": person.email}
        record |= {"profileArn": person.profile_arn, "clientId": "app"} if kind != "builder_id" else {}
        if person.client is not None:
            record |= {"clientId": person.client.id, "clientSecret": person.client.secret}
        if kind == "external_idp":
            record["tokenEndpoint"] = "https://login.microsoftonline.com/t/oauth2/v2.0/token"
        records.append(record)
    proxied = {"proxyUrl": "http://127.0.0.1:9", "proxyUsername": "me", "proxyPassword": OTHER_PROXY_PASSWORD}
    records.append({"kiroApiKey": people.issue(people.add("robot", "api_key")).access, "nickname": "robot"} | proxied)
    return records


def sign_in(house: House) -> None:
    """Every way in."""
    house.run("keys", "create", "laptop", "--key", "-", "--json", stdin=CLIENT_KEY)
    house.said.clear()  # only here, and in the banner of a server, a key is meant to be read
    house.run("accounts", "import", house.file("all.json", every_kind(house)), "--yes")
    for name in ("external_idp", "robot"):  # their services are elsewhere
        house.run("accounts", "disable", name)
    house.emulator.people.add("bob", "api_key")
    key = house.emulator.people.issue(house.emulator.people.persons["bob"]).access
    house.run("login", "key", "--name", "bob", stdin=key)
    house.run("login", "device", "--name", "device")
    house.run("login", "device", *COMPANY, "--name", "company")
    house.run("login", "google", "--device", "--name", "coded")
    house.run("login", "google", "--name", "browsed")
    house.run("login", "sso", *COMPANY, "--name", "sso")


def look(house: House) -> None:
    """Everything that shows something."""
    cache = house.folder / "sue" / ".aws" / "sso" / "cache"
    shutil.copytree(CASES / "stores" / "ide-builder-id", cache)
    house.run("accounts", "scan")
    house.run("accounts", "scan", "--add", "--json")
    for port in ("9", house.emulator.url.rpartition(":")[2]):
        house.run("accounts", "set", "ann", "--proxy", f"http://me:{PROXY_PASSWORD}@127.0.0.1:{port}")
        house.emulator.faults.add(HttpError(407, message="no"), operation="usage", times=None)
        house.run("accounts", "usage", "ann", status=1)
        house.emulator.faults.clear()
    house.run("accounts", "list", "--json")
    house.run("accounts", "show", "ann")
    house.run("accounts", "show", "robot", "--json")
    house.run("accounts", "set", "ann", "--proxy", "none")
    house.run("config", "list", "--json", KIRO_UPSTREAM_PROXY=f"http://me:{PROXY_PASSWORD}@127.0.0.1:9")
    house.run("config", "edit", KIRO_UPSTREAM_PROXY=f"http://me:{PROXY_PASSWORD}@127.0.0.1:9")
    house.run("status")
    house.run("doctor", status=0)
    house.run("keys", "list")
    house.run("models")
    house.run("ask", "Hello!", "--account", "bob")


def move(house: House) -> None:
    """Out and in again, also where it goes wrong."""
    sealed, plain = str(house.outside / "sealed"), str(house.outside / "plain")
    house.run("accounts", "export", "-o", sealed)
    house.run("accounts", "export", "-o", plain, "--plain")
    house.run("accounts", "import", sealed, "--yes")
    house.run("accounts", "import", sealed, "--yes", status=1, KIRO_EXPORT_PASSPHRASE="another horse")
    house.run("accounts", "import", plain, "--json")
    cut = Path(plain).read_text()[:-100]
    Path(plain).write_text(cut)
    house.run("accounts", "import", plain, status=1)
    house.run("accounts", "import", str(CASES / "edge" / "resale-lines.txt"), status=1)


def fail(house: House) -> None:
    """Sign-in services that quote what they were sent."""
    people = house.emulator.people
    for name, kind in (("ann", "ann"), ("builder_id", "builder_id"), ("idc", "idc")):
        person = people.persons[kind]
        secret = person.client.secret if person.client is not None else ""
        quoted = next(token for token, owner in people._refresh.items() if owner == kind)
        message = f"refresh token {quoted} of client {secret} is bad"
        raw = json.dumps({"error": "invalid_request", "error_description": message, "message": message})
        house.emulator.faults.add(HttpError(400, raw=raw), operation="refresh")
        house.run("accounts", "refresh", name, status=3)
        house.emulator.faults.clear()
        house.run("accounts", "refresh", name)
    people.revoke(people.persons["idc"])
    house.run("accounts", "refresh", "idc", status=3)


BODY = {"model": "claude-sonnet-4.5", "max_tokens": 500, "messages": [{"role": "user", "content": "Hello!"}]}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "Hello!"}]}]}


def serve(house: House) -> None:
    """A server whose upstream quotes the token it was sent, in every way an error can come."""
    people = house.emulator.people
    command = [sys.executable, "-m", "kiro", "serve", "--port", "0"]
    with (house.folder / "serve.err").open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=house.env, text=True)
        try:
            banner = read_until(process, "Claude Code")
            url = value(banner, "base URL")
            everything = " ".join(list(people._access) + list(people._refresh))
            quoting = f"token {everything}"
            faults = (
                HttpError(400, message=quoting),
                HttpError(403, message=quoting, reason="UNKNOWN"),
                HttpError(429, message=quoting),
                HttpError(500, raw=f"<html>{quoting}</html>"),
                ExceptionFrame(name="validationError", message=quoting),
                ErrorFrame(message=quoting, after=1),
            )
            for fault in (None, *faults):
                for stream in (False, True):
                    if fault is not None:
                        house.emulator.faults.add(fault, times=None)
                    body = {**BODY, "stream": stream}
                    house.ask("messages", f"{url}/v1/messages", {"x-api-key": CLIENT_KEY}, body)
                    bearer = {"authorization": f"Bearer {CLIENT_KEY}"}
                    house.ask("chat", f"{url}/v1/chat/completions", bearer, body)
                    house.emulator.faults.clear()
            house.ask("gemini", f"{url}/v1beta/models/claude-sonnet-4.5:generateContent?key={CLIENT_KEY}", {}, GEMINI)
            asked = {"model": "claude-sonnet-4.5", "input": "Hello!", "stream": True}
            house.ask("responses", f"{url}/v1/responses", bearer, asked)
            house.ask("wrong key", f"{url}/v1beta/models?key={WRONG_KEY}", {}, None)
            house.ask("wrong key", f"{url}/v1/messages", {"x-api-key": WRONG_KEY}, BODY)
            house.ask("usage", f"{url}/v1/kiro/usage-limits", {"x-api-key": CLIENT_KEY}, None)
            people.expire(people.persons["ann"])
            house.ask("expired", f"{url}/a/ann/v1/messages", {"x-api-key": CLIENT_KEY}, BODY)
            house.ask("health", f"{url}/readyz", {}, None)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
    rows = json.loads(house.run("logs", "--json"))
    assert len(rows) > 20
    for row in [row for row in rows if row["error"]][:3]:
        house.run("logs", "show", row["id"])


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with running_in_thread(Emulator()) as emulator:
        house = House(tmp_path_factory.mktemp("house"), emulator)
        for step in (sign_in, move, look, fail, serve):
            step(house)
        key = (house.home / "vault.key").read_bytes()
        house.secrets[key.strip().decode()] = "the key of the vault"
        house.secrets[base64.b64decode(key).hex()] = "the key of the vault"
        yield house


def test_the_flows_left_something_to_look_at(house):
    words = set(house.secrets.values())
    assert words >= {"an access token", "a refresh token", "a client secret", "devicecode", "codeverifier"}
    assert len(house.secrets) >= 50
    assert b" INFO kiro account " in (house.home / "kiro.log").read_bytes()
    assert (house.home / "kiro.db").stat().st_size > 10_000


@pytest.mark.parametrize("shift", range(3))
def test_a_leak_would_be_found_in_every_form(shift):
    secret = "aorAAAAAG/+secret-0123456789"
    for content in (
        f"x{secret}y",
        "x" * shift + "%3D" + secret.replace("/", "%2F").replace("+", "%2B"),
        base64.b64encode(b"x" * shift + secret.encode() + b"tail").decode(),
        base64.urlsafe_b64encode(b"x" * (3 + shift) + secret.encode()).decode(),
        secret.encode().hex(),
    ):
        assert leaked({secret: "it"}, content.encode()) == ["it"]


def test_no_command_says_a_secret(house):
    assert {step: found for step, text in house.said.items() if (found := leaked(house.secrets, text))} == {}
    assert leaked(house.secrets, (house.folder / "serve.err").read_bytes()) == []


def test_no_answer_over_http_holds_a_secret(house):
    assert {step: found for step, text in house.answered.items() if (found := leaked(house.secrets, text))} == {}


def test_no_file_but_vault_and_key_holds_a_secret(house):
    files = [path for path in house.home.rglob("*") if path.is_file() and path.name != "vault.key"]
    assert {path.name for path in files} >= {"kiro.db", "kiro.log", "vault.json"}
    assert {path.name: found for path in files if (found := leaked(house.secrets, path.read_bytes()))} == {}


def test_nothing_stays_in_the_folder_for_temporary_files(house):
    assert list(house.temp.rglob("*")) == []


def test_no_other_program_is_given_a_secret(house):
    told = house.children.read_bytes()
    assert told.count(b'"PATH"') >= 3
    assert leaked(house.secrets, told) == []


def test_a_passphrase_of_the_vault_is_not_handed_to_the_browser(tmp_path):
    with running_in_thread(Emulator()) as emulator:
        house = House(tmp_path, emulator)
        house.run("login", "google", KIRO_VAULT_PASSPHRASE="the passphrase of my vault")
        assert json.loads(house.run("accounts", "list", "--json"))[0]["kind"] == "social"
        told = house.children.read_text()
    assert "KIRO_HOME" in told
    assert "passphrase of my vault" not in told
    assert "PASSPHRASE" not in told
