"""Secrets are sealed one by one, opened by one keeper, and never fall back to a weaker one."""

import json
import os
import sys
import threading
import time

import pytest

from kiro.errors import StorageError, VaultLocked
from kiro.storage.files import FileLock
from kiro.storage.secrets import (
    KeyringKeeper,
    NamedFileKeeper,
    OwnFileKeeper,
    PassphraseKeeper,
    Surroundings,
    allowed_keyring,
    choose_keeper,
    describe,
    keeper_named,
)
from kiro.storage.vault import Vault

SESSION = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/tmp/x"}


class Keyring:
    """Stands for a system keyring: the module name is what kiro goes by."""

    __module__ = "keyring.backends.SecretService"
    priority = 5

    def __init__(self, delay_s: float = 0.0) -> None:
        self.passwords: dict[tuple[str, str], str] = {}
        self.locked = False
        self.delay_s = delay_s

    def get_password(self, service, username):
        time.sleep(self.delay_s)
        if self.locked:
            raise RuntimeError("locked")
        return self.passwords.get((service, username))

    def set_password(self, service, username, password):
        if self.locked:
            raise RuntimeError("locked")
        self.passwords[service, username] = password

    def delete_password(self, service, username):
        del self.passwords[service, username]


class PlainKeyring(Keyring):
    __module__ = "keyrings.alt.file"


class Forgetful(Keyring):
    __module__ = "keyring.backends.kwallet"

    def get_password(self, service, username):
        return None


class Chain(Keyring):
    __module__ = "keyring.backends.chainer"

    def __init__(self, *backends) -> None:
        super().__init__()
        self.backends = backends


def around(tmp_path, env=(), **more) -> Surroundings:
    def none():
        raise AssertionError("the keyring was asked")

    return Surroundings(tmp_path / "vault.key", dict(env), **{"keyring": none, **more})


@pytest.fixture
def vault(tmp_path):
    return Vault(tmp_path / "vault.json", around(tmp_path, use_keyring=False))


def again(tmp_path, **more) -> Vault:
    return Vault(tmp_path / "vault.json", around(tmp_path, use_keyring=False, **more))


def test_a_secret_is_read_back_by_the_next_process(vault, tmp_path):
    vault.put("account-1", "credentials", b"abc-def")
    assert again(tmp_path).get("account-1", "credentials") == b"abc-def"


def test_nothing_readable_is_on_the_disk(vault, tmp_path):
    vault.put("account-1", "credentials", b"abc-def")
    assert all(b"abc-def" not in path.read_bytes() for path in tmp_path.iterdir())
    if sys.platform != "win32":
        assert (tmp_path / "vault.json").stat().st_mode & 0o077 == 0
        assert (tmp_path / "vault.key").stat().st_mode & 0o077 == 0


def test_looking_into_a_vault_that_is_not_there_makes_none(vault, tmp_path):
    assert vault.get("a", "b") is None
    assert vault.owners("b") == ()
    vault.remove("a")
    assert vault.keeper is None
    assert list(tmp_path.iterdir()) == []


def test_secrets_are_removed_one_by_one_or_with_their_owner(vault):
    vault.put("a", "x", b"1")
    vault.put("a", "y", b"2")
    vault.put("b", "x", b"3")
    assert set(vault.owners("x")) == {"a", "b"}
    vault.remove("a", "x")
    assert (vault.get("a", "x"), vault.get("a", "y")) == (None, b"2")
    vault.remove("a")
    assert vault.owners("y") == ()


def test_two_processes_see_each_others_changes_and_lose_none(vault, tmp_path):
    other = again(tmp_path)
    vault.put("a", "x", b"1")
    other.put("b", "x", b"2")
    vault.put("c", "x", b"3")
    assert [one.get(owner, "x") for one in (vault, other) for owner in "abc"] == [b"1", b"2", b"3"] * 2


def test_many_threads_write_at_once(vault):
    threads = [threading.Thread(target=vault.put, args=(f"a{number}", "x", b"1")) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(vault.owners("x")) == 12


def test_a_record_moved_to_another_account_does_not_open(vault, tmp_path):
    vault.put("a", "credentials", b"1")
    vault.put("b", "credentials", b"2")
    path = tmp_path / "vault.json"
    document = json.loads(path.read_text())
    document["records"]["b"] = document["records"]["a"]
    path.write_text(json.dumps(document))
    with pytest.raises(StorageError, match="of b is damaged"):
        again(tmp_path).get("b", "credentials")
    assert again(tmp_path).get("a", "credentials") == b"1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-20], "damaged"),
        (lambda text: text.replace('"tag"', '"x"').replace("own-file", "telepathy"), "damaged"),
        (lambda text: text.replace('"version": 1', '"version": 9'), "newer kiro"),
    ],
    ids=["cut off", "unknown keeper", "future version"],
)
def test_a_damaged_file_says_so(vault, tmp_path, change, message):
    vault.put("a", "x", b"1")
    path = tmp_path / "vault.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(StorageError, match=message):
        again(tmp_path).get("a", "x")


def test_a_changed_header_is_damage_and_not_a_wrong_passphrase(tmp_path):
    here = around(tmp_path, {"KIRO_VAULT_PASSPHRASE": "right"}, use_keyring=False)
    Vault(tmp_path / "vault.json", here).put("a", "x", b"1")
    path = tmp_path / "vault.json"
    document = json.loads(path.read_text())
    document["keeper"]["salt"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    path.write_text(json.dumps(document))
    with pytest.raises(StorageError, match="header") as caught:
        Vault(path, here).get("a", "x")
    assert not isinstance(caught.value, VaultLocked)


def test_a_wrong_passphrase_is_not_damage(tmp_path):
    path = tmp_path / "vault.json"
    Vault(path, around(tmp_path, {"KIRO_VAULT_PASSPHRASE": "right"}, use_keyring=False)).put("a", "x", b"1")
    with pytest.raises(VaultLocked, match="passphrase is wrong"):
        Vault(path, around(tmp_path, {"KIRO_VAULT_PASSPHRASE": "wrong"}, use_keyring=False)).get("a", "x")
    with pytest.raises(VaultLocked, match="locked by a passphrase"):
        again(tmp_path).get("a", "x")
    asked: list[bool] = []

    def answer(new: bool) -> str:
        asked.append(new)
        return "right"

    assert again(tmp_path, ask_passphrase=answer).get("a", "x") == b"1"
    assert asked == [False]


def test_a_lost_key_file_is_told_and_not_replaced(vault, tmp_path):
    vault.put("a", "x", b"1")
    (tmp_path / "vault.key").unlink()
    with pytest.raises(VaultLocked, match="missing"):
        again(tmp_path).get("a", "x")
    assert not (tmp_path / "vault.key").exists()
    (tmp_path / "vault.key").write_text("c2hvcnQ=")
    with pytest.raises(StorageError, match="damaged"):
        again(tmp_path).get("a", "x")


def test_changing_the_keeper_leaves_the_records_alone(vault, tmp_path):
    vault.put("a", "x", b"1")
    sealed = json.loads((tmp_path / "vault.json").read_text())["records"]
    env = {"KIRO_VAULT_PASSPHRASE": "words"}
    vault.rewrap(*keeper_named("passphrase", around(tmp_path, env)))
    assert json.loads((tmp_path / "vault.json").read_text())["records"] == sealed
    assert vault.get("a", "x") == b"1"
    (tmp_path / "vault.key").unlink()
    opened = Vault(tmp_path / "vault.json", around(tmp_path, env))
    assert opened.get("a", "x") == b"1"
    assert isinstance(opened.keeper, PassphraseKeeper)


def test_opening_with_the_own_key_file_is_quick(vault, tmp_path):
    vault.put("a", "x", b"1")
    again(tmp_path).get("a", "x")
    started = time.perf_counter()
    for _ in range(10):
        again(tmp_path).get("a", "x")
    assert (time.perf_counter() - started) / 10 < 0.015


# -- who keeps the key


def test_a_keyring_that_works_goes_first(tmp_path):
    ring = Keyring()
    keeper, key = choose_keeper(around(tmp_path, {**SESSION, "KIRO_VAULT_PASSPHRASE": "x"}, keyring=lambda: ring))
    assert isinstance(keeper, KeyringKeeper)
    assert [len(text) for text in ring.passwords.values()] == [44]
    assert len(key) == 32
    assert "SecretService" in describe(keeper)


@pytest.mark.parametrize("ring", [PlainKeyring, Forgetful], ids=["stores plain text", "forgets"])
def test_a_keyring_that_cannot_be_trusted_is_passed_over(tmp_path, ring):
    backend = ring()
    keeper, _ = choose_keeper(around(tmp_path, SESSION, keyring=lambda: backend))
    assert keeper == OwnFileKeeper()


def test_a_keyring_that_fails_in_its_own_way_is_passed_over(tmp_path):
    def broken():
        raise ImportError("no such backend")

    keeper, _ = choose_keeper(around(tmp_path, SESSION, keyring=broken))
    assert keeper == OwnFileKeeper()


def test_a_keyring_that_waits_for_nobody_is_passed_over(tmp_path):
    keeper, _ = choose_keeper(around(tmp_path, SESSION, keyring=lambda: Keyring(delay_s=0.5), keyring_wait_s=0.05))
    assert keeper == OwnFileKeeper()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the other systems always have a keyring")
def test_without_a_session_bus_the_keyring_is_not_even_asked(tmp_path):
    assert choose_keeper(around(tmp_path))[0] == OwnFileKeeper()


@pytest.mark.parametrize(
    ("backend", "allowed"),
    [
        (Keyring(), True),
        (PlainKeyring(), False),
        (Chain(Keyring(), Keyring()), True),
        (Chain(Keyring(), PlainKeyring()), False),
        (Chain(), False),
    ],
    ids=["system", "plain text", "chain of systems", "chain with plain text", "empty chain"],
)
def test_only_the_systems_own_keyrings_are_trusted(backend, allowed):
    assert allowed_keyring(backend) is allowed


def test_a_keyring_that_is_locked_later_locks_the_vault_and_nothing_weaker_is_used(tmp_path):
    ring = Keyring()
    here = around(tmp_path, {**SESSION, "KIRO_VAULT_PASSPHRASE": "x"}, keyring=lambda: ring)
    Vault(tmp_path / "vault.json", here).put("a", "x", b"1")
    assert Vault(tmp_path / "vault.json", here).get("a", "x") == b"1"
    ring.locked = True
    with pytest.raises(VaultLocked, match="keyring"):
        Vault(tmp_path / "vault.json", here).get("a", "x")
    ring.locked = False
    ring.passwords.clear()
    with pytest.raises(VaultLocked, match="does not have the key"):
        Vault(tmp_path / "vault.json", here).get("a", "x")


def private_file(path, text: str):
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_key_file_named_by_the_environment(tmp_path):
    file = private_file(tmp_path / "key", "k" * 48 + "\n")
    here = around(tmp_path, {"KIRO_VAULT_KEY_FILE": str(file)}, use_keyring=False)
    vault = Vault(tmp_path / "vault.json", here)
    vault.put("a", "x", b"1")
    assert vault.keeper == NamedFileKeeper()
    moved = private_file(tmp_path / "moved", "k" * 48)
    elsewhere = around(tmp_path, {"KIRO_VAULT_KEY_FILE": str(moved)}, use_keyring=False)
    assert Vault(tmp_path / "vault.json", elsewhere).get("a", "x") == b"1"
    other = private_file(tmp_path / "other", "o" * 48)
    with pytest.raises(VaultLocked, match="does not fit"):
        Vault(tmp_path / "vault.json", around(tmp_path, {"KIRO_VAULT_KEY_FILE": str(other)})).get("a", "x")
    with pytest.raises(VaultLocked, match="KIRO_VAULT_KEY_FILE does not name it"):
        again(tmp_path).get("a", "x")


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [("k" * 48, 0o644, "not private"), ("short", 0o600, "only 5 bytes"), (None, 0, "does not exist")],
)
@pytest.mark.skipif(sys.platform == "win32", reason="mode bits are POSIX")
def test_a_named_key_file_that_is_not_fit_is_an_error_and_not_passed_over(tmp_path, text, mode, message):
    file = tmp_path / "key"
    if text is not None:
        file.write_text(text)
        os.chmod(file, mode)  # noqa: PTH101  # one call for all rows
    with pytest.raises(VaultLocked, match=message):
        choose_keeper(around(tmp_path, {"KIRO_VAULT_KEY_FILE": str(file)}, use_keyring=False))


def test_a_person_may_choose_a_passphrase_or_none(tmp_path):
    keeper, _ = choose_keeper(around(tmp_path, use_keyring=False, ask_passphrase=lambda new: "words" if new else None))
    assert isinstance(keeper, PassphraseKeeper)
    keeper, _ = choose_keeper(around(tmp_path, use_keyring=False, ask_passphrase=lambda _new: None))
    assert keeper == OwnFileKeeper()


@pytest.mark.parametrize("word", ["keyring", "passphrase", "named-file", "tea-leaves"])
def test_a_keeper_chosen_by_name_must_be_usable(tmp_path, word):
    with pytest.raises(StorageError):
        keeper_named(word, around(tmp_path, keyring=PlainKeyring))


def test_a_person_is_asked_before_the_lock_is_taken(tmp_path):
    """Another process must not wait for somebody to type a passphrase."""
    path = tmp_path / "vault.json"
    free = []

    def ask(new):
        with FileLock(path.with_name("vault.json.lock"), timeout_s=0.1):
            free.append(new)
        return "a long enough passphrase"

    around = Surroundings(tmp_path / "vault.key", {}, ask_passphrase=ask, use_keyring=False)
    Vault(path, around).put("one", "group", b"secret")
    assert free == [True]
    assert Vault(path, around).get("one", "group") == b"secret"
    assert free == [True, False]
