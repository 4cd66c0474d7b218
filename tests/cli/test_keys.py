"""`kiro keys`."""

import json


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
