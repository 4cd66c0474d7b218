"""An account that follows a store takes what the store holds for it, and nobody else's sign-in."""

import json
from datetime import UTC, datetime

import pytest

from kiro.accounts.account import Account
from kiro.accounts.follow import read_source
from kiro.redaction import Secret

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "kiro-auth-token.json"


def follower(store, **more):
    return Account(
        id="1", name="sue", kind="social", machine_id="0" * 64, created_at=NOW, mode="follow", source=str(store), **more
    )


def put(store, **more):
    record = {"accessToken": "aoa", "refreshToken": "r" * 120, "authMethod": "social", "provider": "Google"}
    store.write_text(json.dumps(record | more))


def test_the_sign_in_of_its_kind_is_taken(store):
    put(store)
    assert read_source(follower(store, email="sue@example.com"), NOW).access_token == Secret("aoa")


STRANGERS = {
    "another email": {"email": "bob@example.com"},
    "another user": {"email": "sue@example.com", "userId": "2"},
    "another kind": {"provider": "BuilderId", "clientId": "c", "clientSecret": "s"},
}


@pytest.mark.parametrize("there", STRANGERS.values(), ids=STRANGERS.keys())
def test_somebody_else_s_sign_in_is_left_alone(store, there):
    put(store, **there)
    assert read_source(follower(store, email="Sue@example.com", user_id="1"), NOW) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"accessToken":"a"}'])
def test_a_store_that_says_nothing_is_nobody(store, text):
    store.write_text(text)
    assert read_source(follower(store), datetime.now(UTC)) is None


def test_a_store_that_is_gone_is_nobody(store):
    assert read_source(follower(store), NOW) is None
