"""Gemini CLI, one prompt at a time, against `kiro demo`."""

import json
import secrets

import pytest

pytestmark = pytest.mark.e2e
PACKAGE = "@google/gemini-cli"
SETTINGS = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
}


def run(lab, demo, home, model, *script):
    (home / ".gemini").mkdir(parents=True)
    (home / ".gemini" / "settings.json").write_text(json.dumps(SETTINGS))
    env = {
        "GOOGLE_GEMINI_BASE_URL": demo.url,
        "GEMINI_API_KEY": demo.key,
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
        "GEMINI_CLI_NO_RELAUNCH": "true",
    }
    prompt = "\n".join(["Connection test.", *(f"EMULATE: {line}" for line in script), "EMULATE: end"])
    arguments = ["-m", model, "--approval-mode", "yolo", "-o", "json", "-p", prompt]
    done = lab.run(PACKAGE, "gemini", arguments, env, home)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def without_errors(answer):
    return all(one["api"]["totalErrors"] == 0 for one in answer["stats"]["models"].values())


MODELS = {
    "one of Kiro's": "claude-sonnet-4.5",
    "a name of its own": "gemini-3.8-flash",
    "its default, which asks a small model first which one to take": "auto",
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_plain_answer(lab, demo, tmp_path, model):
    token = f"PONG-{secrets.token_hex(4)}"
    answer = run(lab, demo, tmp_path / "home", model, f"text={token}")
    assert answer["response"] == token
    assert without_errors(answer)


def test_a_tool_call_that_writes_a_file(lab, demo, tmp_path):
    home = tmp_path / "home"
    token, file = secrets.token_hex(4), home / "work" / "hello.txt"
    call = json.dumps({"file_path": str(file), "content": f"hello {token}"})
    answer = run(lab, demo, home, "claude-sonnet-4.5", f"tool=write_file input={call}", f"text=DONE-{token}")
    assert answer["response"] == f"DONE-{token}"
    assert file.read_text() == f"hello {token}"
    assert answer["stats"]["tools"]["totalSuccess"] == 1
    assert without_errors(answer)
