"""`kiro serve`, `kiro demo`, `kiro status`, `kiro doctor`: real processes, real sockets."""

import contextlib
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.request

import pytest
import typer

from kiro.cli import pasting, ports, serve, serving
from support.commandline import read_until, value


def post(url, key, *, stream=False, timeout=20):
    body = {
        "model": "claude-sonnet-4.5",
        "max_tokens": 5000,
        "stream": stream,
        "messages": [{"role": "user", "content": "Hello!"}],
    }
    headers = {"x-api-key": key, "content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/messages", json.dumps(body).encode(), headers)
    return urllib.request.urlopen(request, timeout=timeout)


def taken():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener, listener.getsockname()[1]


PLAIN = ["", "--port 0", "-p 8080", "--host localhost --port 65535 --open", "--open --host ::1", "--port 1 --port 2"]
TYPERS = [
    "--help",
    "--port",
    "--port 65536",
    f"--port {'9' * 5000}",
    "--port -1",
    "--port=1",
    "-p1",
    "--port x",
    "--host -p",
    "--opn",
    "x",
    "--host",
]


@pytest.mark.parametrize("line", PLAIN)
def test_a_plain_command_line_is_read_as_typer_would_read_it(line):
    context = typer.main.get_command(serve.app).make_context("serve", line.split())
    assert serving.read_plainly(line.split()) == context.params


@pytest.mark.parametrize("line", TYPERS, ids=lambda line: line[:20])
def test_all_other_command_lines_are_left_to_typer(line):
    assert serving.read_plainly(line.split()) is None


@pytest.mark.parametrize("port", ["65536", "x"])
def test_a_port_that_is_none_is_explained(kiro, port):
    status, _, err = kiro.call("serve", "--port", port)
    assert status == 2
    assert port in err
    assert "kiro serve --help" in err


def test_the_first_start_makes_a_client_key_and_every_start_shows_it(signed_in):
    keys = set()
    for _ in range(2):
        with signed_in.started("serve", "--port", "0") as process:
            banner = read_until(process, "Claude Code")
            keys.add(value(banner, "client key"))
            assert "first: active" in banner
            assert f"ANTHROPIC_BASE_URL={value(banner, 'base URL')}" in banner
    assert keys == {signed_in.ok("keys", "show", "default").strip()}


def test_an_answer_comes_through_and_is_logged(signed_in):
    with signed_in.started("serve", "--port", "0") as process:
        banner = read_until(process, "Claude Code")
        with post(value(banner, "base URL"), value(banner, "client key")) as response:
            assert "Hello!" in json.load(response)["content"][0]["text"]
            request_id = response.headers["request-id"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    shown = signed_in.json("logs", "show", request_id)
    assert shown["outcome"] == "done"


def test_without_an_account_it_serves_and_says_what_to_do(kiro):
    with kiro.started("serve", "--port", "0") as process:
        assert value(read_until(process, "Claude Code"), "accounts") == "none"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=15)
    assert process.returncode == 0
    assert "kiro accounts add" in err
    assert "Stopped." in err


def test_a_change_by_another_command_is_noticed_while_serving(signed_in):
    with signed_in.started("serve", "--port", "0") as process:
        read_until(process, "Claude Code")
        signed_in.ok("config", "set", "pool.strategy", "round-robin")
        time.sleep(2.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=15)
    assert "pool.strategy" in err


def test_a_running_answer_is_finished_after_ctrl_c_and_a_second_one_ends_at_once(signed_in, upstream):
    upstream.pace_ms = 60_000
    with signed_in.started("serve", "--port", "0") as process:
        banner = read_until(process, "Claude Code")
        threading_post(value(banner, "base URL"), value(banner, "client key"))
        wait_for(lambda: upstream.served > 0)
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0


def threading_post(url, key):
    def ask():
        with contextlib.suppress(OSError):
            post(url, key, stream=True).read()

    threading.Thread(target=ask, daemon=True).start()


def wait_for(true, seconds=10):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_taken_port_is_told_with_who_has_it_and_a_free_one(kiro):
    listener, port = taken()
    with listener:
        done = kiro.run("serve", "--port", str(port))
    assert done.returncode == 1
    assert f"Port {port} on 127.0.0.1 is taken." in done.stderr
    assert re.search(r"--port \d+` takes a free one", done.stderr)
    if sys.platform == "linux":
        assert f"(process {os.getpid()})" in done.stderr


def test_an_address_that_is_not_ours_is_wrong_usage(kiro):
    done = kiro.run("serve", "--host", "192.0.2.1", "--port", "0")
    assert done.returncode == 2
    assert "not possible to listen on 192.0.2.1" in done.stderr


def test_beyond_loopback_without_a_key_is_refused(kiro):
    kiro.env["KIRO_SERVER_REQUIRE_KEY"] = "false"
    done = kiro.run("serve", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "anybody in the network" in done.stderr


def test_status_knows_whether_the_server_is_up(signed_in):
    assert signed_in.json("status")["server"]["up"] is False
    with signed_in.started("serve", "--port", "0") as process:
        url = value(read_until(process, "Claude Code"), "base URL")
        signed_in.env["KIRO_SERVER_PORT"] = url.rsplit(":", 1)[1]
        told = signed_in.json("status")
        assert told["server"] == {"url": url, "up": True, "in_flight": 0, "waiting": 0}
        assert [account["name"] for account in told["accounts"]] == ["first"]
        assert f"up at {url}" in signed_in.ok("status")
        assert "up at" in signed_in.ok("doctor")


def test_the_demo_answers_keeps_to_itself_and_leaves_nothing(kiro, tmp_path):
    (tmp_path / "tmp").mkdir()
    with kiro.started("demo", "--port", "0", TMPDIR=str(tmp_path / "tmp")) as process:
        banner = read_until(process, "Hello!")
        assert "This is a demo" in banner
        url, key = value(banner, "base URL"), value(banner, "client key")
        with post(url, key) as response:
            assert "emulator" in json.load(response)["content"][0]["text"]
        with post(url, key, stream=True) as response:
            assert b"message_stop" in response.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
    assert not kiro.home.exists()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_demo_takes_another_port_when_8080_is_taken(kiro):
    with socket.socket() as listener:
        with contextlib.suppress(OSError):  # then somebody else has it, which is as good
            listener.bind(("127.0.0.1", 8080))
            listener.listen()
        with kiro.started("demo") as process:
            assert not value(read_until(process, "client key"), "base URL").endswith(":8080")


def test_the_demo_does_not_take_another_port_than_the_one_it_was_told(kiro):
    listener, port = taken()
    with listener:
        done = kiro.run("demo", "--port", str(port))
    assert done.returncode == 1
    assert "is taken" in done.stderr


def test_serving_loads_nothing_that_it_does_not_need(kiro):
    with kiro.started("serve", "--port", "0", PYTHONPROFILEIMPORTTIME="1") as process:
        read_until(process, "Claude Code")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=15)
    loaded = {line.rpartition("|")[2].strip() for line in err.splitlines() if line.startswith("import time:")}
    assert "aiohttp" in loaded
    assert not loaded & {"rich", "PIL", "pypdf", "tomlkit", "keyring", "kiro.emulator", "aiohttp_socks", "webbrowser"}


def test_lines_are_shown_only_for_dialects_that_are_served():
    assert [name for name, _ in pasting.lines("u", "k", "m", {"anthropic"})] == ["Claude Code", "curl"]
    every = pasting.lines("http://h:1", "it's", "m", {client.protocol for client in pasting.CLIENTS})
    assert len(every) == len(pasting.CLIENTS)
    assert all("{" not in line.replace("{name", "").replace('{"', "") for _, line in every)


@pytest.mark.skipif(sys.platform == "win32", reason="the lines are for a POSIX shell")
def test_a_key_with_a_quote_is_still_one_word_for_a_shell():
    import shlex

    for _, line in pasting.lines("http://h:1", "it's", "m", {client.protocol for client in pasting.CLIENTS}):
        assert any("it's" in word for word in shlex.split(line))


def test_who_listens_is_found_by_the_port():
    listener, port = taken()
    with listener:
        owner = ports.owner(port)
        assert not ports.can_bind("127.0.0.1", port)
    if sys.platform == "linux":
        assert owner is not None
        assert owner.pid == os.getpid()
    assert ports.can_bind("127.0.0.1", port)
    assert ports.owner(port) is None


# -- doctor


def test_a_healthy_home_has_nothing_to_mend(signed_in):
    found = signed_in.json("doctor", "--online")
    assert {one["level"] for one in found} <= {"ok", "warning"}
    assert [one["says"] for one in found if one["what"] == "Kiro for first"] == [
        "answers; 12.5 of 1000 credits are used"
    ]


def test_an_empty_home_stays_empty(kiro):
    kiro.ok("doctor")
    assert not kiro.home.exists()


def test_no_secret_is_told(signed_in, tmp_path):
    key = signed_in.json("keys", "create", "laptop")["key"]
    account = json.loads((tmp_path / "first.json").read_text())
    tokens = [account["refreshToken"], account["accessToken"]]
    told = signed_in.ok("doctor", "--online") + signed_in.ok("doctor", "--json") + signed_in.ok("status", "--json")
    assert key not in told
    assert not [token for token in tokens if token in told]


def damage(kiro, what):
    match what:
        case "vault":
            (kiro.home / "vault.json").write_text("{")
        case "database":
            (kiro.home / "kiro.db").write_text("no database at all, but long enough to be looked at" * 100)
        case "settings":
            (kiro.home / "config.toml").write_text("[server\n")
        case "rights":
            (kiro.home / "vault.json").chmod(0o644)
        case "key":
            (kiro.home / "vault.key").unlink()


MENDING = {
    "a damaged vault": ("vault", "vault.json is damaged"),
    "a damaged database": ("database", "kiro.db is damaged"),
    "a file that is no TOML": ("settings", "is not valid TOML"),
    "a vault that others can read": ("rights", "can be read by others"),
    "a key file that is gone": ("key", "vault.key is missing"),
}


@pytest.mark.parametrize(("what", "says"), MENDING.values(), ids=MENDING.keys())
def test_doctor_finds(signed_in, what, says):
    damage(signed_in, what)
    status, out, err = signed_in.call("doctor")
    assert status == 1
    assert says in out
    assert "to be mended" in err
    assert "version" in out


def test_doctor_says_what_kiro_says(signed_in, upstream):
    upstream.people.persons["first"].suspended = True
    upstream.people.revoke(upstream.people.persons["first"])
    status, out, _ = signed_in.call("doctor", "--online")
    assert status == 1
    assert "Kiro for first" in out


def test_a_taken_port_is_found(kiro):
    listener, port = taken()
    with listener:
        kiro.env["KIRO_SERVER_PORT"] = str(port)
        status, out, _ = kiro.call("doctor")
    assert status == 1
    assert f"port {port} is taken by" in out
