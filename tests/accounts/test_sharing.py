"""One sign-in, two programs: real stores, a real token service that rotates, and the races between them."""

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web

from kiro.accounts.access import AccessKeeper
from kiro.accounts.directory import AccountDirectory
from kiro.auth.credentials import SocialCredentials
from kiro.auth.http import HttpReply
from kiro.auth.records import ImportedAccount
from kiro.auth.refresh import RefreshUrls
from kiro.errors import SignInNeeded
from kiro.redaction import Secret
from kiro.storage.database import Database
from kiro.storage.paths import find_paths
from kiro.storage.secrets import Surroundings
from kiro.storage.vault import Vault

NOW = datetime(2026, 9, 1, tzinfo=UTC)
FIRST = "r" * 120


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)


class Service:
    """The token service of Google sign-ins. `meanwhile` is called while it thinks; `alive` is the refresh token that works."""

    def __init__(self):
        self.asked = []
        self.alive = FIRST
        self.meanwhile = lambda: None
        self.url = ""

    async def refresh(self, request):
        token = (await request.json())["refreshToken"]
        self.asked.append(token)
        self.meanwhile()
        if token != self.alive:
            return web.json_response({"message": "Bad credentials"}, status=401)
        number = len(self.asked)
        self.alive = f"{number}" + "n" * 119
        return web.json_response({"accessToken": f"access-{number}", "refreshToken": self.alive, "expiresIn": 3600})


@pytest.fixture
async def service():
    service = Service()
    app = web.Application()
    app.router.add_post("/refreshToken", service.refresh)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield service
    await runner.cleanup()


@pytest.fixture
def directory(tmp_path):
    paths = find_paths({"KIRO_HOME": str(tmp_path / "home")})
    with Database(paths.database_file) as database:
        vault = Vault(paths.vault_file, Surroundings(paths.key_file, use_keyring=False))
        yield AccountDirectory(database, vault, paths.locks_dir)


@pytest.fixture
def clock():
    return Clock()


async def send(ask):
    async with (
        aiohttp.ClientSession() as session,
        session.request(ask.method, ask.url, headers=dict(ask.headers), data=ask.body) as reply,
    ):
        return HttpReply(reply.status, {name.lower(): text for name, text in reply.headers.items()}, await reply.read())


class IdeFile:
    """The token file of the Kiro IDE."""

    def __init__(self, folder, clock):
        self.path = folder / "kiro-auth-token.json"
        self._clock = clock

    def write(self, access, refresh, life_s, *, age_s=3600.0):
        ends = (self._clock() + timedelta(seconds=life_s)).isoformat()
        document = {"accessToken": access, "refreshToken": refresh, "expiresAt": ends, "authMethod": "social"}
        self.path.write_text(json.dumps({**document, "provider": "Google", "theirs": 1}))
        self.touch(age_s)

    def touch(self, age_s):
        changed = self._clock().timestamp() - age_s
        os.utime(self.path, (changed, changed))

    def tokens(self):
        document = json.loads(self.path.read_text())
        assert document["theirs"] == 1
        return document["accessToken"], document["refreshToken"]


class CliDatabase(IdeFile):
    """The database of the Kiro CLI."""

    def __init__(self, folder, clock):
        super().__init__(folder, clock)
        self.path = folder / "data.sqlite3"
        with closing(sqlite3.connect(self.path)) as made:
            made.executescript(
                "CREATE TABLE auth_kv (key TEXT PRIMARY KEY, value TEXT);"
                "CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB);"
            )

    def write(self, access, refresh, life_s, *, age_s=3600.0):
        ends = (self._clock() + timedelta(seconds=life_s)).isoformat()
        document = {
            "access_token": access,
            "expires_at": ends,
            "refresh_token": refresh,
            "provider": "google",
            "theirs": 1,
        }
        with closing(sqlite3.connect(self.path)) as opened:
            row = ("kirocli:social:token", json.dumps(document))
            opened.execute("INSERT OR REPLACE INTO auth_kv VALUES (?, ?)", row)
            opened.commit()
        self.touch(age_s)

    def tokens(self):
        with closing(sqlite3.connect(self.path)) as opened:
            document = json.loads(opened.execute("SELECT value FROM auth_kv").fetchone()[0])
        assert document["theirs"] == 1
        return document["access_token"], document["refresh_token"]


@pytest.fixture(params=[IdeFile, CliDatabase], ids=["a file of the IDE", "a database of the CLI"])
def store(request, tmp_path, clock):
    return request.param(tmp_path, clock)


def add(directory, store, mode="shared"):
    credentials = SocialCredentials(refresh_token=Secret(FIRST), provider="Google")
    imported = ImportedAccount(index=0, credentials=credentials)
    return directory.add(imported, mode=mode, source=str(store.path), now=NOW).account


def keeper_of(directory, service, clock):
    return AccessKeeper(directory, send, urls=RefreshUrls(social_url=service.url), clock=clock)


async def test_it_is_refreshed_below_three_minutes_and_the_new_tokens_are_written_back(
    directory, service, clock, store
):
    store.write("access-0", FIRST, 200)
    account, keeper = add(directory, store), keeper_of(directory, service, clock)
    assert (await keeper.access(account.id)).token == "access-0"
    clock.advance(25)
    assert (await keeper.access(account.id)).token == "access-1"
    assert service.asked == [FIRST]
    assert store.tokens() == ("access-1", service.alive)
    assert directory.credentials(account.id).refresh_token == Secret(service.alive)
    assert directory.rotated(account.id) is None


async def test_a_store_that_changed_within_a_minute_is_left_to_its_program(directory, service, clock, store):
    store.write("access-0", FIRST, 30, age_s=10)
    account, keeper = add(directory, store), keeper_of(directory, service, clock)
    assert (await keeper.access(account.id)).token == "access-0"
    assert service.asked == []
    clock.advance(40)
    with pytest.raises(SignInNeeded, match="has just changed its store"):
        await keeper.access(account.id)
    clock.advance(20)
    assert (await keeper.access(account.id)).token == "access-1"


async def test_a_store_in_which_the_program_writes_other_things_counts_by_its_sign_in(directory, service, clock, store):
    """The database of the Kiro CLI holds its conversations, too: it changes all the time."""
    store.write("access-0", FIRST, 100, age_s=5)
    account, keeper = add(directory, store), keeper_of(directory, service, clock)
    await keeper.access(account.id)
    clock.advance(61)
    store.touch(1)
    assert (await keeper.access(account.id)).token == "access-1"


async def test_what_the_program_has_refreshed_is_taken_without_asking(directory, service, clock, store):
    store.write("access-0", FIRST, 100)
    account, keeper = add(directory, store), keeper_of(directory, service, clock)
    store.write("theirs", "t" * 120, 3600, age_s=1)
    assert (await keeper.access(account.id)).token == "theirs"
    assert service.asked == []
    assert directory.credentials(account.id).refresh_token == Secret("t" * 120)


async def test_when_the_program_writes_while_we_refresh_its_tokens_are_taken_and_nothing_is_overwritten(
    directory, service, clock, store
):
    store.write("access-0", FIRST, 10)
    account, keeper = add(directory, store), keeper_of(directory, service, clock)
    service.meanwhile = lambda: store.write("theirs", "t" * 120, 3600, age_s=0)
    assert (await keeper.access(account.id)).token == "theirs"
    assert store.tokens() == ("theirs", "t" * 120)
    assert directory.credentials(account.id).refresh_token == Secret("t" * 120)
    assert directory.rotated(account.id) is None


async def test_when_the_program_was_faster_at_the_service_its_tokens_are_taken(directory, service, clock, store):
    """Our refresh is refused, because the token was rotated a moment ago: no verdict on the sign-in."""

    def faster():
        service.alive = "t" * 120
        store.write("theirs", "t" * 120, 3600, age_s=0)

    store.write("access-0", FIRST, 10)
    account, keeper = add(directory, store), keeper_of(directory, service, clock)
    service.meanwhile = faster
    assert (await keeper.access(account.id)).token == "theirs"
    assert directory.get(account.id).state == "active"


async def test_a_sign_in_that_is_dead_for_both_is_told_and_comes_back_with_a_new_one(directory, service, clock, store):
    store.write("access-0", FIRST, 10)
    account, keeper = add(directory, store), keeper_of(directory, service, clock)
    service.alive = "nobody's"
    clock.advance(20)
    with pytest.raises(SignInNeeded) as told:
        await keeper.access(account.id)
    assert "Open the Kiro program" in told.value.hint
    assert directory.get(account.id).state == "invalid"
    store.write("anew", "a" * 120, 3600, age_s=1)
    await keeper.look_again(account.id)
    assert directory.get(account.id).state == "active"
    assert (await keeper.access(account.id)).token == "anew"


async def test_a_crash_before_the_tokens_reached_the_store_is_made_good(directory, service, clock, store):
    store.write("access-0", FIRST, 10)
    account, keeper = add(directory, store), keeper_of(directory, service, clock)
    away = store.path.with_name("away")
    service.meanwhile = lambda: store.path.rename(away)
    assert (await keeper.access(account.id)).token == "access-1"
    away.rename(store.path)
    assert store.tokens() == ("access-0", FIRST)
    assert (await keeper_of(directory, service, clock).access(account.id)).token == "access-1"
    assert store.tokens() == ("access-1", service.alive)
    assert directory.rotated(account.id) is None
    assert service.asked == [FIRST]


async def test_a_link_is_read_and_never_written_through(directory, service, clock, store):
    store.write("access-0", FIRST, 10)
    real = store.path.with_name("elsewhere")
    store.path.rename(real)
    store.path.symlink_to(real)
    account, keeper = add(directory, store), keeper_of(directory, service, clock)
    assert (await keeper.access(account.id)).token == "access-0"
    clock.advance(20)
    with pytest.raises(SignInNeeded, match="is a symbolic link"):
        await keeper.access(account.id)
    assert service.asked == []


async def test_a_sign_in_that_was_removed_from_the_store_is_not_brought_back(directory, service, clock, store):
    store.write("access-0", FIRST, 200)
    account, keeper = add(directory, store), keeper_of(directory, service, clock)
    await keeper.access(account.id)
    store.path.unlink()
    clock.advance(210)
    with pytest.raises(SignInNeeded, match="does not hold it any more"):
        await keeper.access(account.id)
    assert (service.asked, store.path.exists()) == ([], False)


async def test_many_at_once_refresh_once(directory, service, clock, store):
    store.write("access-0", FIRST, 0)
    account, keeper = add(directory, store), keeper_of(directory, service, clock)
    other = keeper_of(directory, service, clock)
    got = await asyncio.gather(*(one.access(account.id) for one in (keeper, other) for _ in range(20)))
    assert {access.token for access in got} == {"access-1"}
    assert service.asked == [FIRST]


async def test_a_token_that_kiro_refused_is_refreshed_whatever_the_clock_says(directory, service, clock, store):
    store.write("access-0", FIRST, 3600)
    account, keeper = add(directory, store), keeper_of(directory, service, clock)
    await keeper.access(account.id)
    assert (await keeper.refresh_now(account.id, "access-0")).token == "access-1"
    assert store.tokens() == ("access-1", service.alive)


async def test_taking_over_refreshes_once_and_leaves_the_store_alone(directory, service, clock, store):
    store.write("access-0", FIRST, 3600)
    account, keeper = add(directory, store, "follow"), keeper_of(directory, service, clock)
    await keeper.take_over(account.id)
    taken = directory.get(account.id)
    assert (taken.mode, taken.source) == ("own", None)
    assert service.asked == [FIRST]
    assert store.tokens() == ("access-0", FIRST)
    store.write("theirs", "t" * 120, 3600)
    assert (await keeper.access(account.id)).token == "access-1"


async def test_a_take_over_that_is_refused_leaves_everything_as_it_was(directory, service, clock, store):
    store.write("access-0", FIRST, 3600)
    account, keeper = add(directory, store, "follow"), keeper_of(directory, service, clock)
    service.alive = "nobody's"
    with pytest.raises(SignInNeeded):
        await keeper.take_over(account.id)
    assert (directory.get(account.id).mode, directory.get(account.id).source) == ("follow", str(store.path))


async def test_a_followed_one_is_never_refreshed(directory, service, clock, store):
    store.write("access-0", FIRST, 10)
    account, keeper = add(directory, store, "follow"), keeper_of(directory, service, clock)
    clock.advance(20)
    with pytest.raises(SignInNeeded, match="The followed sign-in has expired"):
        await keeper.access(account.id)
    assert service.asked == []
