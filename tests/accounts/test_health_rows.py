"""Health in the database: it survives a crash, and `restore` removes it."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from kiro.accounts import health_rows
from kiro.accounts.directory import AccountDirectory
from kiro.accounts.health import FINE, Bench, Health
from kiro.auth.formats import read_import
from kiro.storage.database import Database
from kiro.storage.secrets import Surroundings
from kiro.storage.vault import Vault

TIRED = Health("throttled", "suspicious activity seen by Kiro", 1.0, 2e9, 1, (Bench("m", 2e9, True),))


@pytest.fixture
def database(tmp_path):
    with Database(tmp_path / "kiro.db") as opened:
        yield opened


@pytest.fixture
def directory(tmp_path, database):
    vault = Vault(tmp_path / "vault.json", Surroundings(tmp_path / "vault.key", {}, use_keyring=False))
    return AccountDirectory(database, vault, tmp_path / "locks")


def add(directory, name):
    report = read_import(b"ksk_" + name.encode() * 8, name="x", siblings=lambda _: None, now=datetime.now(UTC))
    return directory.add(report.accounts[0], name=name).account


def test_what_is_saved_is_loaded(database, directory):
    one, two = add(directory, "first"), add(directory, "second")
    health_rows.save(database, {one.id: TIRED, two.id: FINE})
    assert health_rows.load(database) == {one.id: TIRED}
    health_rows.save(database, {one.id: FINE})
    assert health_rows.load(database) == {}


def test_an_account_that_is_gone_leaves_nothing_behind(database, directory):
    one = add(directory, "first")
    health_rows.save(database, {one.id: TIRED})
    directory.remove("first")
    assert health_rows.load(database) == {}
    health_rows.save(database, {one.id: TIRED})
    assert health_rows.load(database) == {}


def test_a_row_of_another_version_counts_as_nothing_known(database, directory):
    one = add(directory, "first")
    with database.change() as change:
        change.run("INSERT INTO account_health VALUES (?, ?)", (one.id, '{"state":"levitating"}'))
    assert health_rows.load(database) == {}


def test_restoring_clears_rests_and_set_asides_and_tells_other_processes(database, directory):
    one = add(directory, "first")
    health_rows.save(database, {one.id: TIRED})
    directory.set_state(one.id, "suspended", "TEMPORARILY_SUSPENDED")
    before = directory.version()
    restored = directory.restore("first")
    assert (restored.state, restored.reason, directory.health()) == ("active", None, {})
    assert directory.version() > before


def test_restoring_leaves_a_disabled_account_disabled(directory):
    one = add(directory, "first")
    directory.enable("first", False)
    assert not directory.restore(one.id).enabled


CRASH = """
import os, sys
from pathlib import Path
from kiro.accounts import health_rows
from kiro.accounts.health import Health
from kiro.storage.database import Database
database = Database(Path(sys.argv[1]))
health_rows.save(database, {sys.argv[2]: Health("cooling", "rate limited", 1.0, 2e9, 3)})
os._exit(9)
"""


def test_a_process_that_dies_right_after_writing_has_written(tmp_path, database, directory):
    one = add(directory, "first")
    done = subprocess.run([sys.executable, "-c", CRASH, str(database.path), one.id], check=False)
    assert done.returncode == 9
    assert health_rows.load(database) == {one.id: Health("cooling", "rate limited", 1.0, 2e9, 3)}
