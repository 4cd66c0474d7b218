"""`kiro accounts` and `kiro login`: import, list, change, ask Kiro."""

import json
import sqlite3
from pathlib import Path

import pytest

from kiro.auth.codes import MEANINGS
from kiro.emulator.seed import social_file

CASES = Path(__file__).parents[1] / "cases" / "auth"
TWO = CASES / "imports" / "kam-export.json"
FIELDS = [
    "id",
    "name",
    "kind",
    "provider",
    "state",
    "reason",
    "region",
    "profile_arn",
    "priority",
    "expires_at",
    "email",
    "usage",
]


def names(kiro):
    return [account["name"] for account in kiro.json("accounts", "list")]


def test_an_empty_home_has_no_accounts_and_says_how_to_begin(kiro):
    assert kiro.json("accounts", "list") == []
    _, out, err = kiro.call("accounts")
    assert out == ""
    assert "kiro accounts import FILE" in err


def test_a_file_is_imported_without_a_question_when_nobody_can_answer(kiro):
    done = kiro.run("accounts", "import", str(TWO))
    assert done.returncode == 0
    assert "added" in done.stdout
    assert "Format: kam-export. 2 accounts found." in done.stderr
    assert names(kiro) == ["fake-211", "fake-212"]


def test_stdin_is_read_with_a_dash(kiro):
    done = kiro.run("accounts", "import", "-", stdin=TWO.read_bytes())
    assert done.returncode == 0
    assert len(names(kiro)) == 2


def test_importing_again_updates_and_keeps_the_id(kiro):
    kiro.ok("accounts", "import", str(TWO))
    before = kiro.json("accounts", "list")
    again = json.loads(kiro.ok("accounts", "import", str(TWO), "--json"))
    assert [one["result"] for one in again["accounts"]] == ["updated", "updated"]
    assert kiro.json("accounts", "list") == before


def test_one_person_twice_in_a_file_is_one_account_and_each_entry_is_told(kiro, tmp_path):
    file = tmp_path / "twice.json"
    person = {"authMethod": "social", "email": "sue@example.com"}
    tokens = ("a" * 120, "b" * 120, "a" * 120)
    file.write_text(json.dumps([{"refreshToken": token, **person} for token in tokens] + ["no object"]))
    told = kiro.json("accounts", "import", str(file))
    assert [(one["index"], one["result"], one["name"]) for one in told["accounts"]] == [
        (0, "added", "sue"),
        (1, "updated", "sue"),
    ]
    assert [(one["index"], one["code"]) for one in told["refused"]] == [(2, "R_DUPLICATE"), (3, "R_NOT_AN_OBJECT")]
    assert names(kiro) == ["sue"]


def test_the_list_has_exactly_the_promised_fields(kiro):
    kiro.ok("accounts", "import", str(TWO))
    first = kiro.json("accounts", "list")[0]
    assert list(first) == FIELDS
    assert list(first["usage"]) == ["used", "limit", "resets_at"]


@pytest.mark.parametrize("case", sorted((CASES / "imports").iterdir()), ids=lambda case: case.name)
def test_no_secret_of_an_imported_file_is_shown(kiro, case):
    _, out, err = kiro.call("accounts", "import", str(case))
    shown = out + err + kiro.ok("accounts", "list", "--json") + kiro.ok("accounts")
    assert not [secret for secret in secrets_in(case.read_text()) if secret in shown]


def secrets_in(text):
    """Every long text under a telling name, or the lines of a file that is no JSON."""
    try:
        document = json.loads(text)
    except ValueError:
        return [line for line in text.splitlines() if line.startswith("ksk_")]
    found = []

    def walk(value, name=""):
        if isinstance(value, dict):
            for key, item in value.items():
                walk(item, key.lower().replace("_", ""))
        elif isinstance(value, list):
            for item in value:
                walk(item, name)
        elif isinstance(value, str) and len(value) >= 12 and not value.startswith("http") and telling(name):
            found.append(value)

    def telling(name):
        return "token" in name or "secret" in name or "apikey" in name

    walk(document)
    return found


def test_a_database_of_the_kiro_cli_is_imported(kiro, tmp_path):
    store = tmp_path / "data.sqlite3"
    connection = sqlite3.connect(store)
    connection.executescript((CASES / "stores" / "kiro-cli" / "social.sql").read_text())
    connection.close()
    kiro.ok("accounts", "import", str(store))
    assert [account["kind"] for account in kiro.json("accounts", "list")] == ["social"]


def test_a_registration_beside_the_file_is_found(kiro):
    kiro.ok("accounts", "import", str(CASES / "stores" / "ide-builder-id" / "kiro-auth-token.json"))
    assert [account["kind"] for account in kiro.json("accounts", "list")] == ["builder_id"]


REFUSED = {
    "half-client-pair.json": "R_CLIENT_PAIR_INCOMPLETE",
    "missing-refresh-token.json": "R_NO_REFRESH_TOKEN",
    "bad-region.json": "R_BAD_REGION",
    "external-idp-endpoint-not-allowed.json": "R_ENDPOINT_NOT_ALLOWED",
}


@pytest.mark.parametrize(("file", "code"), REFUSED.items(), ids=REFUSED.keys())
def test_a_refused_entry_says_why_in_words_and_fails(kiro, file, code):
    status, out, err = kiro.call("accounts", "import", str(CASES / "edge" / file))
    assert status == 1
    assert MEANINGS[code] in out
    assert "error: No account was imported." in err


WHOLE = {"cut-off.json": "E_NOT_JSON", "resale-lines.txt": "E_UNSUPPORTED_LINES", "empty.json": "E_EMPTY"}


@pytest.mark.parametrize(("file", "code"), WHOLE.items(), ids=WHOLE.keys())
def test_a_file_that_is_no_import_says_why_and_quotes_nothing_of_it(kiro, file, code):
    path = CASES / "edge" / file
    status, out, err = kiro.call("accounts", "import", str(path))
    assert (status, out) == (1, "")
    assert MEANINGS[code] in err
    assert all(word not in err for word in path.read_text().split() if len(word) > 20)


def test_name_fits_one_account_only(kiro):
    status, _, err = kiro.call("accounts", "import", str(TWO), "--name", "mine")
    assert status == 2
    assert "--name fits one account, and there are 2." in err
    assert names(kiro) == []


def test_a_file_of_another_program_is_warned_about_unless_followed(kiro, tmp_path):
    folder = tmp_path / ".aws" / "sso" / "cache"
    folder.mkdir(parents=True)
    file = folder / "kiro-auth-token.json"
    file.write_text(
        json.dumps({"refreshToken": "r" * 120, "accessToken": "a", "authMethod": "social", "provider": "Google"})
    )
    assert "lose its sign-in" in kiro.call("accounts", "import", str(file))[2]
    assert "lose its sign-in" not in kiro.call("accounts", "import", str(file), "--follow")[2]
    assert "the program it belongs to" in kiro.ok("accounts", "show", "google")


def test_a_file_with_two_accounts_of_a_kind_is_not_followed(kiro, tmp_path):
    file = tmp_path / "two.json"
    file.write_text(json.dumps([{"refreshToken": letter * 120, "authMethod": "social"} for letter in "ab"]))
    status, _, err = kiro.call("accounts", "import", str(file), "--follow", "--yes")
    assert status == 2
    assert "Several accounts of one kind" in err
    assert names(kiro) == []


def test_a_name_that_another_account_has_changes_nothing(kiro, tmp_path):
    kiro.ok("accounts", "import", str(TWO))
    before = [kiro.json("accounts", "list"), (kiro.home / "vault.json").read_bytes()]
    file = tmp_path / "one.json"
    file.write_text(json.dumps({"refreshToken": "n" * 120, "authMethod": "social", "email": "user211@example.com"}))
    status, _, err = kiro.call("accounts", "import", str(file), "--name", "fake-212", "--yes")
    assert status == 2
    assert "already an account named fake-212" in err
    assert [kiro.json("accounts", "list"), (kiro.home / "vault.json").read_bytes()] == before


def test_accounts_are_renamed_disabled_enabled_and_removed(kiro):
    kiro.ok("accounts", "import", str(TWO))
    kiro.ok("accounts", "rename", "fake-211", "private")
    kiro.ok("accounts", "disable", "private")
    assert [one["state"] for one in kiro.json("accounts", "list")] == ["disabled", "active"]
    kiro.ok("accounts", "enable", "private")
    assert kiro.json("accounts", "show", "private")["state"] == "active"
    kiro.ok("accounts", "remove", "private")
    assert names(kiro) == ["fake-212"]


def test_an_account_is_shown_without_its_secrets(kiro):
    kiro.ok("accounts", "import", str(TWO))
    shown = kiro.ok("accounts", "show", "fake-211")
    assert "user211@example.com" in shown
    assert not [secret for secret in secrets_in(TWO.read_text()) if secret in shown]


def test_a_kiro_api_key_is_read_from_stdin(kiro):
    done = kiro.run("login", "key", "--name", "robot", stdin="ksk_abcdefgh12345678\n")
    assert done.returncode == 0, done.stderr
    assert "ksk_" not in done.stdout + done.stderr
    assert kiro.json("accounts", "show", "robot")["kind"] == "api_key"


KEYS = {
    "an empty input is no key": ("\n", "No key was given."),
    "a text of another form is no key": ("sk-1234567890abcdef\n", "This is not a Kiro API key."),
}


@pytest.mark.parametrize(("stdin", "message"), KEYS.values(), ids=KEYS.keys())
def test_a_key_that_is_none_is_refused_and_not_quoted(kiro, stdin, message):
    done = kiro.run("login", "key", stdin=stdin)
    assert done.returncode == 2
    assert message in done.stderr
    assert "1234567890" not in done.stderr


def test_a_region_where_kiro_does_not_answer_is_refused(kiro):
    done = kiro.run("login", "key", "--region", "mars-1", stdin="ksk_abcdefgh12345678\n")
    assert done.returncode == 2
    assert "us-east-1" in done.stderr


# -- with Kiro


def test_usage_asks_kiro_and_is_remembered_for_the_list(signed_in):
    asked = signed_in.json("accounts", "usage")
    assert asked[0]["usage"]["limit"] == 1000.0
    assert signed_in.json("accounts", "list") == asked
    assert "12.5 of 1000" in signed_in.ok("accounts")
    assert "1000" in signed_in.ok("accounts", "usage", "first")


def test_refresh_renews_the_token(signed_in, upstream):
    before = upstream.people.refreshes
    status, _, err = signed_in.call("accounts", "refresh", "first")
    assert status == 0
    assert "first: renewed" in err
    assert upstream.people.refreshes == before + 1


def test_a_dead_sign_in_is_told_with_status_3_and_shown_in_the_list(signed_in, upstream):
    upstream.people.revoke(upstream.people.persons["first"])
    status, _, err = signed_in.call("accounts", "refresh")
    assert status == 3
    assert "error: first: " in err
    assert signed_in.json("accounts", "list")[0]["state"] == "invalid"


def test_import_with_check_says_whether_kiro_takes_the_account(signed_in, upstream, tmp_path):
    dead = upstream.people.add("second")
    file = tmp_path / "second.json"
    file.write_text(json.dumps(social_file(upstream, dead)))
    assert "works" in signed_in.ok("accounts", "import", str(file), "--check", "--name", "second")
    upstream.people.revoke(dead)
    status, _, err = signed_in.call("accounts", "import", str(file), "--check")
    assert status == 1
    assert "Not every imported account works." in err


def test_an_import_without_check_asks_kiro_nothing(signed_in, upstream):
    assert upstream.served == 0


def test_an_overage_budget_is_set_and_lifted(signed_in):
    signed_in.ok("accounts", "set", "first", "--overage-budget", "12.5")
    assert "12.5" in signed_in.ok("accounts", "show", "first")
    signed_in.ok("accounts", "set", "first", "--overage-budget", "none")
    assert "12.5" not in signed_in.ok("accounts", "show", "first")


@pytest.mark.parametrize("text", ["-1", "much", "nan", "inf"])
def test_a_budget_is_a_number_of_credits(signed_in, text):
    status, _, err = signed_in.call("accounts", "set", "first", "--overage-budget", text)
    assert status == 2
    assert "is no number of credits" in err
