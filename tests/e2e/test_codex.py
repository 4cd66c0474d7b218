"""Codex, exec mode, against `kiro demo`: with each of the ways it declares its tools, and as its own provider."""

import json
import secrets

import pytest

pytestmark = pytest.mark.e2e
PACKAGE = "@openai/codex"
QUIET = """\
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
[analytics]
enabled = false
"""
SHELL = "exec_command|shell_command|shell"


def configured(home, *lines):
    """The home with a configuration: `lines`, which belong to no section, then what keeps Codex quiet."""
    folder = home / ".codex"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("\n".join(lines) + "\n" + QUIET)
    return home


def provided(home, demo, model):
    """A provider of the user's own, as people write it."""
    home = configured(home, f'model = "{model}"', 'model_provider = "kiro"')
    with (home / ".codex" / "config.toml").open("a") as file:
        file.write(f"""\
[model_providers.kiro]
name = "kiro"
base_url = "{demo.url}/v1"
env_key = "KIRO_CLIENT_KEY"
wire_api = "responses"
""")
    return home


def run(lab, demo, home, *script):
    """The last message, and the items of the turn."""
    answer = home / "answer"
    arguments = ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json"]
    prompt = "\n".join(["Connection test.", *(f"EMULATE: {line}" for line in script), "EMULATE: end"])
    env = {"KIRO_CLIENT_KEY": demo.key, "CODEX_API_KEY": demo.key, "CODEX_HOME": str(home / ".codex")}
    done = lab.run(PACKAGE, "codex", [*arguments, "-o", str(answer), prompt], env, home)
    assert done.returncode == 0, done.stdout + done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return answer.read_text(), [one["item"] for one in said if one["type"] == "item.completed"]


MODELS = {
    "a model it does not know": "claude-sonnet-4.5",
    "a model it knows": "gpt-5.5",
    "a model it gives code to": "gpt-6-sol",
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_plain_answer(lab, demo, tmp_path, model):
    token = f"PONG-{secrets.token_hex(4)}"
    answer, _ = run(lab, demo, provided(tmp_path / "home", demo, model), f"text={token}")
    assert answer == token


def written_by_shell(words):
    return f"tool={SHELL} input=" + json.dumps({"cmd": f"printf '{words}' > hello.txt"})


def written_by_patch(words):
    patch = f"*** Begin Patch\n*** Add File: hello.txt\n+{words}\n*** End Patch\n"
    return "tool=apply_patch input=" + json.dumps(patch)


def written_by_code(words):
    command = json.dumps({"cmd": f"printf '{words}' > hello.txt"})
    return "tool=exec input=" + json.dumps(f"const ran = await tools.exec_command({command});\ntext(ran);\n")


WAYS = {
    "a function": ("claude-sonnet-4.5", written_by_shell),
    "a patch in free text": ("gpt-5.5", written_by_patch),
    "code in free text, in a namespace, declared in the input": ("gpt-6-sol", written_by_code),
}


@pytest.mark.parametrize(("model", "written"), WAYS.values(), ids=WAYS)
def test_a_tool_call_that_writes_a_file(lab, demo, tmp_path, model, written):
    home = provided(tmp_path / "home", demo, model)
    token = secrets.token_hex(4)
    answer, _ = run(lab, demo, home, written(f"hello {token}"), f"text=DONE-{token}")
    assert answer == f"DONE-{token}"
    assert (home / "work" / "hello.txt").read_text().strip() == f"hello {token}"


def as_its_own(home, demo, *lines):
    """Its built-in provider with another address: it tries a WebSocket first, and has its history compacted by the server."""
    return configured(home, 'model = "gpt-5.5"', f'openai_base_url = "{demo.url}/v1"', *lines)


def test_its_built_in_provider(lab, demo, tmp_path):
    home = as_its_own(tmp_path / "home", demo)
    token = secrets.token_hex(4)
    answer, _ = run(lab, demo, home, written_by_shell(f"hello {token}"), f"text=DONE-{token}")
    assert answer == f"DONE-{token}"
    assert (home / "work" / "hello.txt").read_text() == f"hello {token}"


def test_a_history_that_grew_too_long_is_compacted(lab, demo, tmp_path):
    """The first run of the command says too much; after the compaction its result is gone, so it runs once more."""
    home = as_its_own(tmp_path / "home", demo, "model_auto_compact_token_limit = 15000")
    command = json.dumps({"cmd": "test -f seen || seq 1 9000; touch seen"})
    answer, items = run(lab, demo, home, f"tool={SHELL} input={command}", "text=DONE")
    assert answer == "DONE"
    assert [item["type"] for item in items] == ["command_execution", "command_execution", "agent_message"]
    (session,) = (home / ".codex" / "sessions").rglob("*.jsonl")
    kept = [json.loads(line) for line in session.read_text().splitlines()]
    (compacted,) = [one["payload"] for one in kept if one["type"] == "compacted"]
    (summary,) = [item for item in compacted["replacement_history"] if item["type"] == "compaction"]
    assert summary["encrypted_content"].startswith("kc1.")
