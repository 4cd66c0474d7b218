"""What is kept of requests and responses goes when its time is over, while the server runs."""

import asyncio
import time

import pytest

from kiro.home import Home
from kiro.runtime import open_runtime
from kiro.storage import responses_store
from kiro.storage.responses_store import StoredResponse

DAY_S = 86400


def stored(response_id, age_s, *, kept=True):
    return StoredResponse(response_id, "k", time.time() - age_s, "m", kept, b"[]", b"[]", b"{}")


@pytest.fixture
def home(tmp_path, kiro):
    env = {"KIRO_HOME": str(tmp_path), "KIRO_UPSTREAM_URL": kiro.url, "KIRO_AUTH_SOCIAL_URL": kiro.url}
    made = Home(env, {"responses.retention_days": 7}, use_keyring=False)
    yield made
    made.close()


async def test_old_responses_are_deleted_and_those_not_to_be_stored_after_an_hour(home):
    for one in (
        stored("resp_new", 6 * DAY_S),
        stored("resp_old", 8 * DAY_S),
        stored("resp_passing", 60, kept=False),
        stored("resp_passed", 3700, kept=False),
    ):
        responses_store.put(home.database, one)
    async with open_runtime(home), asyncio.timeout(10):
        while len(left := [row["id"] for row in home.database.rows("SELECT id FROM responses")]) > 2:
            await asyncio.sleep(0.01)
    assert sorted(left) == ["resp_new", "resp_passing"]
