"""Client keys that are bound to accounts."""

import sqlite3

import pytest

from kiro.errors import StorageError, UsageError
from kiro.storage.client_keys import ClientKeys
from kiro.storage.database import MIGRATIONS, Database
from kiro.storage.secrets import Surroundings
from kiro.storage.vault import Vault

BOTH = frozenset({"id-a", "id-b"})
BEFORE = next(n for n, step in enumerate(MIGRATIONS) if any("client_key_accounts" in line for line in step))
"""How many steps a database had before keys knew accounts."""


@pytest.fixture
def database(tmp_path):
    with Database(tmp_path / "kiro.db") as database:
        for name in ("a", "b"):
            add_account(database, name)
        yield database


@pytest.fixture
def keys(database, tmp_path):
    return ClientKeys(database, Vault(tmp_path / "vault.json", Surroundings(tmp_path / "vault.key", use_keyring=False)))


def add_account(database, name):
    with database.change() as change:
        change.run(
            "INSERT INTO accounts (id, name, kind, state, enabled, priority, machine_id, flavour, mode, created_at)"
            " VALUES (?, ?, 'social', 'active', 1, 0, '', 'ide', 'own', '2026-01-01T00:00:00+00:00')",
            (f"id-{name}", name),
        )


def remove_account(database, name):
    with database.change() as change:
        change.run("DELETE FROM accounts WHERE name = ?", (name,))


def test_a_key_may_use_everything_until_it_is_limited(keys):
    key, text = keys.create("laptop")
    assert (key.accounts, key.account) == (None, None)
    keys.bind("laptop", accounts=BOTH, account="id-b")
    bound = keys.ring().match(text.reveal())
    assert (bound.accounts, bound.account) == (BOTH, "id-b")
    assert keys.list() == [bound] == [keys.get("laptop")]
    keys.bind("laptop", accounts=None)
    assert (keys.get("laptop").accounts, keys.get("laptop").account) == (None, "id-b")
    keys.bind("laptop", account=None)
    assert keys.get("laptop") == key


def test_a_key_can_be_born_limited(keys):
    key, _ = keys.create("laptop", accounts=BOTH, account="id-a")
    assert (key.accounts, key.account) == (BOTH, "id-a")


def test_the_default_is_one_of_those_it_may_use(keys):
    keys.create("laptop", accounts={"id-a"})
    with pytest.raises(UsageError, match="b is not among the accounts that the client key laptop may use"):
        keys.bind("laptop", account="id-b")
    keys.bind("laptop", account="id-a")
    with pytest.raises(UsageError, match="a is not among"):
        keys.bind("laptop", accounts={"id-b"})
    assert keys.get("laptop").accounts == {"id-a"}


def test_a_key_that_cannot_be_made_leaves_nothing(keys):
    with pytest.raises(UsageError):
        keys.create("laptop", accounts={"id-a"}, account="id-b")
    with pytest.raises(StorageError):
        keys.create("laptop", accounts={"nobody"})
    assert keys.list() == []


def test_a_removed_account_leaves_every_set_and_an_empty_set_stays_a_set(keys, database):
    _, text = keys.create("laptop", accounts=BOTH, account="id-b")
    before = keys.version()
    remove_account(database, "b")
    assert keys.version() != before
    assert (keys.get("laptop").accounts, keys.get("laptop").account) == ({"id-a"}, None)
    remove_account(database, "a")
    assert keys.ring().match(text.reveal()).accounts == frozenset()
    add_account(database, "c")
    assert keys.get("laptop").accounts == frozenset()


def test_a_server_notices_a_changed_set(keys):
    keys.create("laptop", accounts=BOTH)
    before = keys.version()
    keys.bind("laptop", accounts={"id-a"})
    assert keys.version() != before


def test_a_removed_key_leaves_no_rows(keys, database):
    keys.create("laptop", accounts=BOTH)
    keys.remove("laptop")
    assert database.rows("SELECT * FROM client_key_accounts") == []


def test_keys_of_an_older_database_stay_unlimited(tmp_path):
    path = tmp_path / "kiro.db"
    connection = sqlite3.connect(path, isolation_level=None)
    for step in MIGRATIONS[:BEFORE]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {BEFORE}")
    connection.execute("INSERT INTO client_keys VALUES ('k', 'old', x'00', 'last', 1, '2026-01-01T00:00:00+00:00')")
    connection.close()
    with Database(path) as database:
        vault = Vault(tmp_path / "vault.json", Surroundings(tmp_path / "vault.key", use_keyring=False))
        (key,) = ClientKeys(database, vault).list()
        assert (key.name, key.accounts, key.account) == ("old", None, None)
