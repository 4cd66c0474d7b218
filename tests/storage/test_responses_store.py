"""Stored responses: bound to the key that made them, kept as long as they may be, and no longer."""

import msgspec
import pytest

from kiro.storage.database import Database
from kiro.storage.responses_store import SHORT_S, StoredResponse, delete, find, get, input_items, prune, put

NOW = 1_700_000_000.0
KEPT = StoredResponse("resp_1", "k", NOW, "m", True, b'[{"id":"i"}]', b'[{"id":"o"}]', b'{"id":"resp_1"}')
PASSING = StoredResponse("resp_2", "k", NOW, "m", False, b"[]", b'[{"id":"o2"}]', b"null")
OPEN = msgspec.structs.replace(KEPT, id="resp_3", client_key=None)


@pytest.fixture
def database(tmp_path):
    with Database(tmp_path / "kiro.db") as database:
        for response in (KEPT, PASSING, OPEN):
            put(database, response)
        yield database


def test_a_response_is_read_back_as_it_was_put(database):
    assert get(database, "resp_1", client_key="k") == KEPT
    assert input_items(database, "resp_1", client_key="k") == [msgspec.Raw(b'{"id":"i"}')]


def test_putting_again_replaces(database):
    put(database, msgspec.structs.replace(KEPT, model="other"))
    assert get(database, "resp_1", client_key="k").model == "other"


@pytest.mark.parametrize("key", ["other", None], ids=["another key", "no key"])
def test_a_response_belongs_to_its_key(database, key):
    assert get(database, "resp_1", client_key=key) is None
    assert input_items(database, "resp_1", client_key=key) is None
    assert not delete(database, "resp_1", client_key=key)
    assert find(database, ["resp_1"], client_key=key, now=NOW) == []


def test_where_no_key_is_required_responses_belong_to_nobody(database):
    assert get(database, "resp_3", client_key=None) == OPEN
    assert get(database, "resp_3", client_key="k") is None


def test_deleting(database):
    assert delete(database, "resp_1", client_key="k")
    assert not delete(database, "resp_1", client_key="k")
    assert get(database, "resp_1", client_key="k") is None


def test_what_is_not_to_be_kept_can_be_referred_to_for_an_hour_and_nothing_else(database):
    assert get(database, "resp_2", client_key="k") is None
    assert not delete(database, "resp_2", client_key="k")
    both = find(database, ["resp_1", "resp_2", "resp_9"], client_key="k", now=NOW + SHORT_S - 1)
    assert sorted(both, key=lambda one: one.id) == [KEPT, PASSING]
    assert find(database, ["resp_1", "resp_2"], client_key="k", now=NOW + SHORT_S) == [KEPT]


@pytest.mark.parametrize(
    ("later_s", "gone"),
    [(SHORT_S - 1, 0), (SHORT_S, 1), (30 * 86400, 1), (30 * 86400 + 1, 3)],
    ids=["within the hour", "after the hour", "on the last day", "after it"],
)
def test_pruning(database, later_s, gone):
    assert prune(database, 30, now=NOW + later_s) == gone
