"""Claude Code at work while one account after the other fails it: the run ends well, and the log tells the story."""

import json
import secrets

import pytest

from kiro.emulator.faults import HttpError, Reset, Slow
from kiro.emulator.seed import social_file
from kiro.emulator.server import Emulator, running_in_thread
from support.commandline import Kiro, read_until, value

pytestmark = pytest.mark.e2e
NAMES = ("first", "second", "third", "fourth")
WELL = Slow(ms=1)
"""Stands for a request that goes well: faults of an account come in the order in which they are added."""


@pytest.fixture
def upstream():
    with running_in_thread(Emulator()) as running:
        yield running


@pytest.fixture
def kiro(tmp_path, monkeypatch, capsys, upstream):
    """A home with four accounts, used in this order."""
    kiro = Kiro(tmp_path / "kiro", monkeypatch, capsys)
    kiro.env |= dict.fromkeys(("KIRO_UPSTREAM_URL", "KIRO_AUTH_SOCIAL_URL"), upstream.url)
    kiro.env["KIRO_POOL_STRATEGY"] = "priority"
    for place, name in enumerate(NAMES):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(social_file(upstream, upstream.people.add(name))))
        kiro.ok("accounts", "import", str(file), "--name", name)
        kiro.ok("accounts", "set", name, "--priority", str(place))
    return kiro


def prompt(work, answer):
    """Three files to write, one after the other, and then something to say."""
    lines = [
        f"EMULATE: tool=Write input={json.dumps({'file_path': str(work / f'{name}.txt'), 'content': name})}"
        for name in ("one", "two", "three")
    ]
    return "\n".join(["Write three files.", *lines, f"EMULATE: text={answer}", "EMULATE: end"])


def test_throttled_then_suspended_then_cut(lab, kiro, upstream, tmp_path):
    answer = " ".join(["All", "three", "files", "are", "there", "now:", *(secrets.token_hex(4) for _ in range(12))])
    for fault in (WELL, HttpError(status=429, reason="USER_REQUEST_RATE_EXCEEDED", retry_after_s=300)):
        upstream.faults.add(fault, account="first")
    for fault in (WELL, HttpError(status=403, reason="TEMPORARILY_SUSPENDED", message="Suspended.")):
        upstream.faults.add(fault, account="second")
    for fault in (WELL, Reset(after=4)):
        upstream.faults.add(fault, account="third")

    agent = tmp_path / "agent"
    with kiro.started("serve", "--port", "0") as process:
        banner = read_until(process, "Claude Code")
        env = {
            "ANTHROPIC_BASE_URL": value(banner, "base URL"),
            "ANTHROPIC_API_KEY": value(banner, "client key"),
            "ANTHROPIC_MODEL": "claude-sonnet-4-5",
            "IS_SANDBOX": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
        }
        arguments = ["-p", prompt(agent / "work", answer), "--output-format", "json", "--dangerously-skip-permissions"]
        done = lab.run("@anthropic-ai/claude-code", "claude", arguments, env, agent)
        process.terminate()
        assert process.wait(15) == 0
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["result"] == answer
    assert {file.stem: file.read_text() for file in (agent / "work").glob("*.txt")} == {
        name: name for name in ("one", "two", "three")
    }
    assert failures(kiro) == [
        [("first", "RateLimited"), ("second", None)],
        [("second", "AccountSuspended"), ("third", None)],
        [("third", "StreamCut"), ("fourth", None)],
    ]
    shown = kiro.ok("logs", "show", kiro.json("logs")[-1]["id"])
    assert "continued after" in shown
    assert "StreamCut" in shown
    fares = {one["name"]: one["state"] for one in kiro.json("accounts", "list")}
    assert fares == {"first": "cooling", "second": "suspended", "third": "active", "fourth": "active"}


def failures(kiro):
    """The requests that took more than one try, as the log tells them: the accounts, and what went wrong with each."""
    names = {one["id"]: one["name"] for one in kiro.json("accounts", "list")}
    rows = [kiro.json("logs", "show", row["id"]) for row in kiro.json("logs")]
    assert {row["outcome"] for row in rows} == {"done"}
    tries = [[(names[one["account"]], one["error"]) for one in row["attempts"]] for row in rows]
    return [one for one in tries if len(one) > 1]
