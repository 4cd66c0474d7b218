"""Claude Code, print mode, against `kiro demo`."""

import json
import secrets

import pytest

pytestmark = pytest.mark.e2e
PACKAGE = "@anthropic-ai/claude-code"


def run(lab, demo, home, prompt, model="claude-sonnet-4-5"):
    env = {
        "ANTHROPIC_BASE_URL": demo.url,
        "ANTHROPIC_API_KEY": demo.key,
        "ANTHROPIC_MODEL": model,
        "IS_SANDBOX": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    arguments = ["-p", prompt, "--output-format", "json", "--dangerously-skip-permissions"]
    done = lab.run(PACKAGE, "claude", arguments, env, home)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4-8"])
def test_a_plain_answer(lab, demo, tmp_path, model):
    token = f"PONG-{secrets.token_hex(4)}"
    answer = run(lab, demo, tmp_path / "home", f"Connection test.\nEMULATE: text={token}\nEMULATE: end", model)
    assert answer["result"] == token
    assert not answer["is_error"]


def test_a_tool_call_that_writes_a_file(lab, demo, tmp_path):
    home = tmp_path / "home"
    token, file = secrets.token_hex(4), home / "work" / "hello.txt"
    call = json.dumps({"file_path": str(file), "content": f"hello {token}"})
    prompt = f"Write a file.\nEMULATE: tool=Write input={call}\nEMULATE: text=DONE-{token}\nEMULATE: end"
    answer = run(lab, demo, home, prompt)
    assert answer["result"] == f"DONE-{token}"
    assert file.read_text() == f"hello {token}"
