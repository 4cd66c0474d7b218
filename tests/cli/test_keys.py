"""`kiro keys`."""

import json

import pytest


def test_create_prints_id_name_and_key(kiro):
    made = kiro.json("keys", "create", "laptop")
    assert list(made) == ["id", "name", "key"]
    assert made["name"] == "laptop"
    assert kiro.ok("keys", "show", "laptop").strip() == made["key"]


def test_a_key_may_have_a_text_of_ones_own(kiro):
    assert kiro.json("keys", "create", "mine", "--key", "my-own-secret")["key"] == "my-own-secret"


def test_the_text_can_come_from_stdin(kiro):
    done = kiro.run("keys", "create", "mine", "--key", "-", "--json", stdin="from-stdin-secret\n")
    assert json.loads(done.stdout)["key"] == "from-stdin-secret"


def test_the_list_shows_names_and_states_but_no_texts(kiro):
    key = kiro.json("keys", "create", "laptop")["key"]
    kiro.ok("keys", "disable", "laptop")
    listed = kiro.ok("keys")
    assert "laptop" in listed
    assert "disabled" in listed
    assert key not in listed + kiro.ok("keys", "list", "--json")
    kiro.ok("keys", "enable", "laptop")
    assert kiro.json("keys", "list")[0]["enabled"] is True


def test_rotate_gives_a_new_text_and_remove_deletes(kiro):
    old = kiro.json("keys", "create", "laptop")["key"]
    new = kiro.json("keys", "rotate", "laptop")
    assert new["key"] != old
    kiro.ok("keys", "remove", "laptop")
    assert kiro.json("keys", "list") == []


def test_a_name_is_taken_once(kiro):
    kiro.ok("keys", "create", "laptop")
    status, _, err = kiro.call("keys", "create", "laptop")
    assert status == 2
    assert "There is already a client key named laptop." in err


def test_a_short_text_is_refused_without_quoting_it(kiro):
    status, _, err = kiro.call("keys", "create", "laptop", "--key", "zzz")
    assert status == 2
    assert "zzz" not in err


def two_accounts(kiro):
    for name, key in (("work", "ksk_abcdefgh12345678"), ("home", "ksk_ijklmnop12345678")):
        assert kiro.run("login", "key", "--name", name, stdin=f"{key}\n").returncode == 0


def test_a_key_is_limited_to_accounts_and_gets_a_default(kiro):
    two_accounts(kiro)
    text = kiro.json("keys", "create", "laptop", "--accounts", "work", "--account", "work")["key"]
    status, _, err = kiro.call("keys", "set", "laptop", "--accounts", "work, home", "--account", "home")
    assert status == 0
    assert "laptop may use work, home; it asks home first." in err
    (listed,) = kiro.json("keys", "list")
    assert list(listed) == ["id", "name", "enabled", "last4", "created_at", "accounts", "account"]
    assert (listed["accounts"], listed["account"]) == (["work", "home"], "home")
    assert "work, home" in kiro.ok("keys")
    shown = kiro.json("keys", "show", "laptop")
    assert (shown["key"], shown["accounts"], shown["account"]) == (text, ["work", "home"], "home")
    assert kiro.ok("keys", "show", "laptop").strip() == text


def test_none_lifts_a_limit_and_a_default(kiro):
    two_accounts(kiro)
    kiro.ok("keys", "create", "laptop", "--accounts", "work", "--account", "work")
    kiro.ok("keys", "set", "laptop", "--accounts", "none", "--account", "none")
    (listed,) = kiro.json("keys", "list")
    assert (listed["accounts"], listed["account"]) == (None, None)
    assert "all" in kiro.ok("keys", "list")


def test_renamed_and_removed_accounts_are_told_as_they_are(kiro):
    two_accounts(kiro)
    kiro.ok("keys", "create", "laptop", "--accounts", "work")
    kiro.ok("accounts", "rename", "work", "office")
    assert kiro.json("keys", "list")[0]["accounts"] == ["office"]
    kiro.ok("accounts", "remove", "office", "--yes")
    assert kiro.json("keys", "list")[0]["accounts"] == []
    assert "none: those it had are removed" in kiro.ok("keys", "list")


MISUSED = {
    "nothing to set": (["laptop"], "Nothing to set was given."),
    "no such key": (["nobody", "--accounts", "work"], "There is no client key 'nobody'."),
    "no such account": (["laptop", "--accounts", "work,x"], "There is no account 'x'."),
    "an empty set": (["laptop", "--accounts", ","], "--accounts names no account."),
    "a default outside": (["laptop", "--accounts", "work", "--account", "home"], "home is not among the accounts"),
}


@pytest.mark.parametrize(("arguments", "message"), MISUSED.values(), ids=MISUSED.keys())
def test_set_misused_says_what_is_wrong(kiro, arguments, message):
    two_accounts(kiro)
    kiro.ok("keys", "create", "laptop")
    status, _, err = kiro.call("keys", "set", *arguments)
    assert status == 2
    assert message in err


def test_a_key_gets_another_name(kiro):
    kiro.ok("keys", "create", "laptop")
    kiro.ok("keys", "set", "laptop", "--name", "desk")
    assert kiro.json("keys", "list")[0]["name"] == "desk"
