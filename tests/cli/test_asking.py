"""`kiro ask`, `kiro models` and `kiro logs`, against an emulated Kiro."""

import json

import pytest

from support.commandline import read_until


def test_the_answer_is_on_stdout_and_nothing_else(signed_in):
    done = signed_in.run("ask", "What is a monad?", "-m", "claude-sonnet-4.5")
    assert done.returncode == 0, done.stderr
    assert "What is a monad?" in done.stdout
    assert done.stdout.endswith("\n")
    assert done.stderr == ""


def test_the_question_may_come_from_stdin(signed_in):
    assert "from a pipe" in signed_in.run("ask", "-", stdin="from a pipe").stdout


def test_bytes_that_are_no_text_do_not_break_the_question(signed_in):
    assert signed_in.run("ask", "-", stdin=b"caf\xe9").returncode == 0


def test_an_empty_question_is_refused(kiro):
    done = kiro.run("ask", "-", stdin=" \n")
    assert done.returncode == 2
    assert "The question is empty." in done.stderr


def test_an_account_that_is_none_is_told_before_anything_is_asked(signed_in, upstream):
    status, _, err = signed_in.call("ask", "hi", "--account", "second")
    assert status == 2
    assert "There is no account 'second'." in err
    assert upstream.served == 0


def test_a_model_that_is_none_is_told_with_the_nearest(signed_in):
    signed_in.ok("models")
    status, _, err = signed_in.call("ask", "hi", "-m", "claude-sonet-4.5-b")
    assert status == 2
    assert "No account offers a model 'claude-sonet-4.5-b'." in err
    assert "Did you mean claude-sonnet-4.5" in err


def test_each_question_is_a_row_of_the_log(signed_in):
    signed_in.ok("ask", "hi", "--account", "first")
    rows = signed_in.json("logs")
    assert [(row["protocol"], row["outcome"], row["status"]) for row in rows] == [("ask", "done", 200)]
    assert rows[0]["output_tokens"] > 0
    shown = signed_in.ok("logs", "show", rows[0]["id"])
    assert "first" in shown
    assert "done" in shown
    assert json.loads(signed_in.ok("logs", "show", rows[0]["id"], "--json"))["attempts"][0]["status"] == 200


def test_models_are_kiros_own_list(signed_in, upstream):
    listed = signed_in.json("models")
    offered = {model.id for model in next(iter(upstream.people.persons.values())).models}
    assert {model["id"] for model in listed} == offered
    assert "claude-sonnet-4.5" in signed_in.ok("models")


def test_models_without_an_account_are_what_kiro_knows_by_itself(kiro):
    status, out, err = kiro.call("models")
    assert status == 0
    assert "claude-sonnet-4.5" in out
    assert "There is no account yet" in err


@pytest.fixture
def logged(kiro):
    """A log with one answered and one failed request, of two models."""
    from kiro.storage.database import Database
    from kiro.storage.request_log import RequestRow, append_many

    made = json.loads(kiro.ok("keys", "create", "laptop", "--json"))
    common = {"protocol": "anthropic", "path": "/v1/messages", "stream": True, "client_key": made["id"]}
    rows = [
        RequestRow(
            id="req_1", started_at=1_000_000.0, status=200, outcome="done", duration_ms=1500, model_asked="m1", **common
        ),
        RequestRow(
            id="req_2",
            started_at=2_000_000_000.0,
            status=502,
            outcome="failed",
            duration_ms=20,
            model_asked="m2",
            message="broke\x1b[31m",
            **common,
        ),
    ]
    with Database(kiro.home / "kiro.db") as database:
        append_many(database, rows)
    return kiro


FILTERS = {
    "everything, oldest first": ([], ["req_1", "req_2"]),
    "only failures": (["--failed"], ["req_2"]),
    "only one model": (["--model", "m1"], ["req_1"]),
    "only one client key, by its name": (["--key", "laptop"], ["req_1", "req_2"]),
    "only since a date": (["--since", "2020-01-01"], ["req_2"]),
    "only the newest": (["--limit", "1"], ["req_2"]),
    "only one account, by an id that is gone": (["--account", "0123456789ab"], []),
}


@pytest.mark.parametrize(("options", "ids"), FILTERS.values(), ids=FILTERS.keys())
def test_the_log_is_filtered(logged, options, ids):
    assert [row["id"] for row in json.loads(logged.ok("logs", *options, "--json"))] == ids


def test_the_table_names_the_key_and_strips_control_characters(logged):
    table = logged.ok("logs")
    assert "laptop" in table
    assert "1.5 s" in table
    assert "\x1b" not in table


def test_following_shows_what_is_there_and_what_comes(logged):
    from kiro.storage.database import Database
    from kiro.storage.request_log import RequestRow, append_many

    with logged.started("logs", "--follow") as process:
        assert "req_1" in read_until(process, "req_2")
        row = RequestRow("req_3", 3e9, "gemini", "/v1beta", 200, "done", False, 5.0)
        with Database(logged.home / "kiro.db") as database:
            append_many(database, [row])
        read_until(process, "req_3")
        process.send_signal(2)
        assert process.wait(10) == 0
