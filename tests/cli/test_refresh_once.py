"""One refresh among processes, and what a process leaves behind that is killed in the middle of one."""

import json
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from kiro.emulator.faults import Hang
from kiro.emulator.seed import social_file
from support.commandline import read_until, value

ASK = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "EMULATE: text=ok"}]}


class Server:
    """A running `kiro serve`."""

    def __init__(self, process):
        self.process = process
        banner = read_until(process, "Claude Code")
        self.url, self.key = value(banner, "base URL"), value(banner, "client key")

    def ask(self):
        """Status and text; the error's message when it was refused."""
        headers = {"x-api-key": self.key, "content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/v1/messages", json.dumps(ASK).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)["content"][0]["text"]
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["error"]["message"]


def wait_for(true, seconds=15):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def expire(upstream):
    upstream.people.expire(upstream.people.persons["first"])


def test_two_servers_on_one_home_make_one_refresh(signed_in, upstream):
    with signed_in.started("serve", "--port", "0") as one, signed_in.started("serve", "--port", "0") as two:
        servers = [Server(one), Server(two)]
        expire(upstream)
        upstream.faults.add(Hang(ms=300), times=None, operation="refresh")
        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(lambda number: servers[number % 2].ask(), range(16)))
    assert answers == [(200, "ok")] * 16
    assert len(upstream.seen("refresh")) == 1


def killed_while_refreshing(signed_in, upstream, hang):
    """The server asks for new tokens and is gone before it has them."""
    with signed_in.started("serve", "--port", "0") as process:
        server = Server(process)
        expire(upstream)
        upstream.faults.add(hang, operation="refresh")
        threading.Thread(target=swallowed, args=(server,), daemon=True).start()
        wait_for(lambda: upstream.seen("refresh"))
        if not hang.before_head:
            wait_for(lambda: upstream.people.refreshes)
        process.kill()
        process.wait(10)


def swallowed(server):
    try:
        server.ask()
    except OSError:  # the connection breaks, as it has to
        return


@pytest.mark.parametrize(
    ("hang", "rotates"),
    [(Hang(ms=60_000, before_head=True), True), (Hang(ms=60_000), False)],
    ids=["before the service has acted", "after it, where an old refresh token stays good"],
)
def test_after_a_kill_in_the_middle_of_a_refresh_the_account_works(signed_in, upstream, hang, rotates):
    upstream.people.persons["first"].rotates = rotates
    killed_while_refreshing(signed_in, upstream, hang)
    with signed_in.started("serve", "--port", "0") as process:
        assert Server(process).ask() == (200, "ok")
    assert signed_in.json("accounts", "list")[0]["state"] == "active"


def test_a_token_that_was_rotated_into_a_killed_process_is_lost_and_that_is_said(signed_in, upstream, tmp_path):
    """The one gap no order of writing can close: the service has forgotten the old token, and nobody has the new one."""
    killed_while_refreshing(signed_in, upstream, Hang(ms=60_000))
    with signed_in.started("serve", "--port", "0") as process:
        server = Server(process)
        status, message = server.ask()
        assert status == 401
        assert "kiro login google" in message
        told = signed_in.json("accounts", "list")[0]
        assert (told["state"], told["reason"]) == ("invalid", "bad_credentials")
        again = tmp_path / "again.json"
        again.write_text(json.dumps(social_file(upstream, upstream.people.persons["first"])))
        signed_in.ok("accounts", "remove", "first", "--yes")
        signed_in.ok("accounts", "import", str(again), "--name", "first")
        wait_for(lambda: server.ask() == (200, "ok"))
