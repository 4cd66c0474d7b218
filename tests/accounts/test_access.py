"""One refresh however many ask; nothing is lost between the service's answer and the use of the new token."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from kiro.accounts.access import AccessKeeper
from kiro.accounts.account import Account
from kiro.accounts.acting import api_region, make_access
from kiro.accounts.directory import AccountDirectory
from kiro.auth.credentials import (
    BUILDER_ID_ARN,
    ApiKeyCredentials,
    BuilderIdCredentials,
    Credentials,
    ExternalIdpCredentials,
    IdcCredentials,
    OidcClient,
    SocialCredentials,
)
from kiro.auth.http import HttpAsk, HttpReply
from kiro.auth.records import ImportedAccount
from kiro.auth.refresh import RefreshUrls
from kiro.errors import NetworkFailed, RateLimited, SignInNeeded, UpstreamBroken
from kiro.redaction import Secret
from kiro.storage.database import Database
from kiro.storage.paths import find_paths
from kiro.storage.secrets import Surroundings
from kiro.storage.vault import Vault

NOW = datetime(2026, 9, 1, tzinfo=UTC)
ARN = "arn:aws:codewhisperer:eu-central-1:000000000000:profile/FAKEEXAMPLE1"


class Clock:
    def __init__(self) -> None:
        self.now = NOW
        self.waited = 0.0

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.waited

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.waited += seconds


class TokenService:
    """A token service of a Google sign-in on a real socket: rotates, and refuses a refresh token used twice."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: list[web.Response] = []
        self.delay_s = 0.0
        self.life_s = 3600
        self.current = "refresh-0"
        self.url = ""

    async def refresh(self, request: web.Request) -> web.Response:
        token = (await request.json())["refreshToken"]
        self.asked.append(token)
        await asyncio.sleep(self.delay_s)
        if self.answers:
            return self.answers.pop(0)
        if token != self.current:
            return web.json_response({"message": "Bad credentials"}, status=401)
        number = len(self.asked)
        self.current = f"refresh-{number}"
        body = {"accessToken": f"access-{number}", "refreshToken": self.current, "expiresIn": self.life_s}
        return web.json_response(body)


@pytest.fixture
async def service():
    service = TokenService()
    app = web.Application()
    app.router.add_post("/refreshToken", service.refresh)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield service
    await runner.cleanup()


@pytest.fixture
def directory(tmp_path):
    paths = find_paths({"KIRO_HOME": str(tmp_path)})
    with Database(paths.database_file) as database:
        vault = Vault(paths.vault_file, Surroundings(paths.key_file, use_keyring=False))
        yield AccountDirectory(database, vault, paths.locks_dir)


async def send(ask: HttpAsk) -> HttpReply:
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.request(ask.method, ask.url, headers=dict(ask.headers), data=ask.body) as reply,
        ):
            headers = {name.lower(): value for name, value in reply.headers.items()}
            return HttpReply(reply.status, headers, await reply.read())
    except aiohttp.ClientError as error:
        raise NetworkFailed("no answer") from error


def social(life: timedelta | None = None, refresh: str = "refresh-0") -> SocialCredentials:
    expires_at = None if life is None else NOW + life
    return SocialCredentials(
        access_token=Secret("access-0"), refresh_token=Secret(refresh), expires_at=expires_at, provider="Google"
    )


def add(directory: AccountDirectory, credentials: Credentials, **more) -> Account:
    return directory.add(ImportedAccount(index=0, credentials=credentials, **more), now=NOW).account


def keeper_of(directory: AccountDirectory, service: TokenService, clock: Clock, send=send) -> AccessKeeper:
    urls = RefreshUrls(social_url=service.url)
    return AccessKeeper(directory, send, urls=urls, clock=clock, monotonic=clock.monotonic)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keeper(directory, service, clock):
    return keeper_of(directory, service, clock)


async def test_a_fresh_token_is_given_without_asking_anybody(directory, service, keeper):
    account = add(directory, social(timedelta(hours=1)))
    access = await keeper.access(account.id)
    assert access.token == "access-0"
    assert await keeper.access(account.id) is access
    assert service.asked == []


@pytest.mark.parametrize(
    ("left", "refreshes"),
    [(timedelta(minutes=6), False), (timedelta(minutes=4), True), (timedelta(hours=-1), True), (None, True)],
    ids=["six minutes left", "four minutes left", "expired", "nobody knows when it ends"],
)
async def test_below_five_minutes_it_refreshes(directory, service, keeper, left, refreshes):
    account = add(directory, social(left))
    access = await keeper.access(account.id)
    assert access.token == ("access-1" if refreshes else "access-0")


async def test_a_hundred_callers_make_one_refresh(directory, service, keeper):
    service.delay_s = 0.05
    account = add(directory, social(timedelta(0)))
    found = await asyncio.gather(*(keeper.access(account.id) for _ in range(100)))
    assert {access.token for access in found} == {"access-1"}
    assert service.asked == ["refresh-0"]


async def test_a_caller_that_goes_away_does_not_stop_the_refresh(directory, service, keeper):
    service.delay_s = 0.05
    account = add(directory, social(timedelta(0)))
    caller = asyncio.create_task(keeper.access(account.id))
    await asyncio.sleep(0.03)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await keeper.close()
    assert (await keeper.access(account.id)).token == "access-1"
    assert service.asked == ["refresh-0"]


async def test_the_rotated_token_is_on_the_disk_before_the_new_access_token_is_given_out(directory, service, keeper):
    account = add(directory, social(timedelta(0)))
    await keeper.access(account.id)
    assert directory.credentials(account.id).refresh_token == Secret("refresh-1")
    assert directory.get(account.id).expires_at == NOW + timedelta(hours=1)


async def test_the_next_refresh_uses_the_rotated_token(directory, service, keeper, clock):
    account = add(directory, social(timedelta(0)))
    await keeper.access(account.id)
    clock.advance(3600)
    assert (await keeper.access(account.id)).token == "access-2"
    assert service.asked == ["refresh-0", "refresh-1"]


async def test_a_token_that_lives_a_minute_is_not_refreshed_for_every_request(directory, service, keeper, clock):
    service.life_s = 60
    account = add(directory, social(timedelta(0)))
    for _ in range(5):
        await keeper.access(account.id)
        clock.advance(4)
    assert len(service.asked) == 1


async def test_a_rejected_token_is_replaced_whatever_the_clock_says(directory, service, keeper):
    account = add(directory, social(timedelta(hours=1)))
    first = await keeper.access(account.id)
    second = await keeper.refresh_now(account.id, first.token)
    assert second.token == "access-1"
    assert (await keeper.refresh_now(account.id, first.token)).token == "access-1"
    assert len(service.asked) == 1


async def test_without_a_token_the_last_one_counts_as_rejected(directory, service, keeper):
    account = add(directory, social(timedelta(hours=1)))
    await keeper.access(account.id)
    assert (await keeper.refresh_now(account.id)).token == "access-1"


async def test_fifty_callers_with_the_same_rejected_token_make_one_refresh(directory, service, keeper):
    service.delay_s = 0.02
    account = add(directory, social(timedelta(hours=1)))
    first = await keeper.access(account.id)
    found = await asyncio.gather(*(keeper.refresh_now(account.id, first.token) for _ in range(50)))
    assert {access.token for access in found} == {"access-1"}
    assert len(service.asked) == 1


async def test_a_token_that_has_not_expired_stays_in_use_while_the_service_is_down(directory, service, keeper, clock):
    account = add(directory, social(timedelta(minutes=4)))
    service.answers = [web.Response(status=503), web.Response(status=503)]
    assert (await keeper.access(account.id)).token == "access-0"
    assert (await keeper.access(account.id)).token == "access-0"
    assert len(service.asked) == 1
    clock.advance(1.5)
    await keeper.access(account.id)
    assert len(service.asked) == 2
    clock.advance(3)
    assert (await keeper.access(account.id)).token == "access-3"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: web.Response(status=503), UpstreamBroken),
        (lambda: web.Response(text="<html>sign in to the wifi</html>", content_type="text/html"), UpstreamBroken),
        (lambda: web.json_response({}, status=429, headers={"Retry-After": "7"}), RateLimited),
    ],
    ids=["503", "200 with a page", "429"],
)
async def test_passing_trouble_is_told_but_costs_the_sign_in_nothing(directory, service, keeper, answer, error, clock):
    account = add(directory, social(timedelta(0)))
    service.answers = [answer()]
    with pytest.raises(error):
        await keeper.access(account.id)
    with pytest.raises(error):
        await keeper.access(account.id)
    assert len(service.asked) == 1
    assert directory.get(account.id).state == "active"
    clock.advance(10)
    assert (await keeper.access(account.id)).token == "access-2"


async def test_new_credentials_do_not_wait_for_the_failures_of_the_old_ones(directory, service, keeper):
    account = add(directory, social(timedelta(0), refresh="old"), email="a@example.com")
    service.answers = [web.Response(status=503)]
    with pytest.raises(UpstreamBroken):
        await keeper.access(account.id)
    add(directory, social(timedelta(0)), email="a@example.com")
    keeper.forget()
    assert (await keeper.access(account.id)).token == "access-2"


async def test_no_network_is_passing_trouble(directory, service, clock):
    async def unplugged(ask: HttpAsk) -> HttpReply:
        raise ConnectionRefusedError

    keeper = keeper_of(directory, service, clock, unplugged)
    account = add(directory, social(timedelta(0)))
    with pytest.raises(NetworkFailed):
        await keeper.access(account.id)


async def test_a_dead_sign_in_is_marked_and_its_secrets_are_kept(directory, service, keeper):
    account = add(directory, social(timedelta(0), refresh="refresh-of-yesterday"))
    with pytest.raises(SignInNeeded) as caught:
        await keeper.access(account.id)
    assert "kiro login google" in caught.value.hint
    assert directory.get(account.id).state == "invalid"
    assert directory.get(account.id).reason == "bad_credentials"
    assert directory.credentials(account.id).refresh_token == Secret("refresh-of-yesterday")


async def test_importing_again_revives_a_dead_sign_in(directory, service, keeper):
    account = add(directory, social(timedelta(0), refresh="old"), email="a@example.com")
    with pytest.raises(SignInNeeded):
        await keeper.access(account.id)
    again = add(directory, social(timedelta(0)), email="a@example.com")
    assert again.id == account.id
    assert again.state == "active"
    assert (await keeper.access(account.id)).token == "access-2"


async def test_three_unclear_refusals_in_a_row_mark_the_sign_in(directory, service, keeper, clock):
    account = add(directory, social(timedelta(minutes=4)))
    service.answers = [web.Response(status=403) for _ in range(3)]
    for _ in range(2):
        assert (await keeper.access(account.id)).token == "access-0"
        clock.advance(10)
    with pytest.raises(SignInNeeded):
        await keeper.access(account.id)
    assert directory.get(account.id).state == "invalid"


async def test_an_api_key_is_never_refreshed(directory, service, keeper):
    account = add(directory, ApiKeyCredentials(api_key=Secret("ksk_test")))
    access = await keeper.access(account.id)
    assert (access.token, access.token_type) == ("ksk_test", "API_KEY")
    with pytest.raises(SignInNeeded, match="does not accept the API key"):
        await keeper.refresh_now(account.id, access.token)
    assert service.asked == []


async def test_a_sign_in_without_registration_is_used_until_it_ends(directory, service, keeper, clock):
    credentials = BuilderIdCredentials(
        access_token=Secret("a"), refresh_token=Secret("r"), expires_at=NOW + timedelta(minutes=3)
    )
    account = add(directory, credentials)
    assert (await keeper.access(account.id)).token == "a"
    clock.advance(181)
    with pytest.raises(SignInNeeded, match="has ended"):
        await keeper.access(account.id)


async def test_an_account_removed_during_the_refresh_does_not_come_back(directory, service, clock):
    async def removing(ask: HttpAsk) -> HttpReply:
        reply = await send(ask)
        with directory._database.change() as change:
            change.run("DELETE FROM accounts")
        return reply

    account = add(directory, social(timedelta(0)))
    with pytest.raises(SignInNeeded):
        await keeper_of(directory, service, clock, removing).access(account.id)
    assert directory.find(account.id) is None


async def test_a_followed_sign_in_is_read_anew_and_never_refreshed(directory, service, keeper, clock, tmp_path):
    store = tmp_path / "kiro-auth-token.json"

    def write(token: str, life: timedelta) -> None:
        expires_at = (clock() + life).isoformat()
        fields = {"accessToken": token, "refreshToken": "r" * 120, "authMethod": "social", "provider": "Google"}
        store.write_text(json.dumps({**fields, "expiresAt": expires_at}))

    imported = ImportedAccount(index=0, credentials=social(timedelta(minutes=10)))
    account = directory.add(imported, mode="follow", source=str(store)).account
    write("of-the-ide-1", timedelta(minutes=10))
    assert (await keeper.access(account.id)).token == "of-the-ide-1"
    clock.advance(540)
    assert (await keeper.access(account.id)).token == "of-the-ide-1"
    write("of-the-ide-2", timedelta(hours=1))
    clock.advance(5)
    assert (await keeper.access(account.id)).token == "of-the-ide-2"
    clock.advance(4000)
    with pytest.raises(SignInNeeded) as caught:
        await keeper.access(account.id)
    assert "Open the Kiro program" in caught.value.hint
    assert service.asked == []


SECOND_PROCESS = """
import asyncio, sys
sys.path[:0] = [{src!r}, {tests!r}]
from accounts_process import run
asyncio.run(run({home!r}, {url!r}, {account!r}))
"""


async def test_two_processes_make_one_refresh(directory, service, clock, tmp_path):
    service.delay_s = 0.5
    add(directory, social(timedelta(days=-3000)))
    account = directory.list()[0]
    here = Path(__file__).parent
    src = here.parent.parent / "src"
    code = SECOND_PROCESS.format(src=str(src), tests=str(here), home=str(tmp_path), url=service.url, account=account.id)
    command = [sys.executable, "-c", code]
    processes = [
        await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)
    ]
    answers = await asyncio.gather(*(process.communicate() for process in processes))
    assert [out.decode().strip() for out, _ in answers] == ["access-1"] * 3, answers
    assert service.asked == ["refresh-0"]


def oidc(kind, **more):
    client = OidcClient(id="c", secret=Secret("s"))
    return kind(access_token=Secret("t"), refresh_token=Secret("r"), client=client, **more)


def external(**more):
    return ExternalIdpCredentials(
        access_token=Secret("t"),
        refresh_token=Secret("r"),
        client_id="c",
        token_endpoint="https://login.microsoftonline.com/x",
        **more,
    )


@pytest.mark.parametrize(
    ("credentials", "token_type", "arn", "region"),
    [
        (social(), None, None, "us-east-1"),
        (oidc(BuilderIdCredentials), None, BUILDER_ID_ARN, "us-east-1"),
        (oidc(IdcCredentials, auth_region="eu-west-1", profile_arn=ARN), None, ARN, "eu-central-1"),
        (oidc(IdcCredentials, auth_region="eu-west-1"), None, None, "eu-central-1"),
        (oidc(IdcCredentials, auth_region="ap-southeast-1"), None, None, "us-east-1"),
        (external(profile_arn=ARN), "EXTERNAL_IDP", ARN, "eu-central-1"),
        (external(), "EXTERNAL_IDP", None, "us-east-1"),
        (ApiKeyCredentials(api_key=Secret("ksk_x")), "API_KEY", None, "us-east-1"),
    ],
    ids=[
        "social",
        "builder id",
        "idc with arn",
        "european idc",
        "asian idc",
        "external",
        "external without arn",
        "api key",
    ],
)
def test_what_is_sent_depends_on_the_kind(credentials, token_type, arn, region):
    account = Account(id="a", name="a", kind="social", machine_id="0" * 64, created_at=NOW)
    access = make_access(account, credentials)
    assert (access.token_type, access.profile_arn, access.region) == (token_type, arn, region)


def test_a_region_set_by_the_person_goes_first():
    account = Account(id="a", name="a", kind="social", machine_id="0" * 64, created_at=NOW, region="eu-central-1")
    assert api_region(account, social(), "us-east-1") == "eu-central-1"


async def test_who_waits_for_other_processes_keeps_no_thread(directory, service, keeper):
    """There are few threads, and the log, the database and whoever holds a lock need them."""
    accounts = [add(directory, social(timedelta(0), refresh=f"refresh-{n}"), name=f"n{n}") for n in range(40)]
    locks = [directory.lock(account.id) for account in accounts]
    for lock in locks:
        lock.acquire()
    waiting = [asyncio.create_task(keeper.access(account.id)) for account in accounts]
    await asyncio.sleep(0.1)
    async with asyncio.timeout(5):
        assert await asyncio.to_thread(lambda: "free") == "free"
    assert not any(task.done() for task in waiting)
    for lock in locks:
        lock.release()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert len(service.asked) == 40


async def test_five_hundred_requests_cost_no_disk(directory, service, keeper):
    account = add(directory, social(timedelta(hours=1)))
    await keeper.access(account.id)
    directory._database.close()
    for _ in range(500):
        await keeper.access(account.id)


async def test_scopes_that_the_provider_does_not_like_are_left_out_once(directory, clock):
    asked: list[bytes] = []

    async def provider(ask: HttpAsk) -> HttpReply:
        asked.append(ask.body)
        if b"scope=" in ask.body:
            return HttpReply(400, {}, b'{"error":"invalid_scope"}')
        return HttpReply(200, {}, b'{"access_token":"new","expires_in":"3600"}')

    keeper = AccessKeeper(directory, provider, clock=clock, monotonic=clock.monotonic)
    account = add(directory, external(scopes="openid x"))
    assert (await keeper.access(account.id)).token == "new"
    assert len(asked) == 2


async def test_the_accounts_own_proxy_goes_along_with_the_refresh(directory, clock):
    asked: list[HttpAsk] = []

    async def provider(ask: HttpAsk) -> HttpReply:
        asked.append(ask)
        return HttpReply(200, {}, b'{"accessToken":"new"}')

    keeper = AccessKeeper(directory, provider, clock=clock, monotonic=clock.monotonic)
    account = add(directory, social(timedelta(0)), proxy=Secret("http://me:pw@p.example:1"))
    await keeper.access(account.id)
    assert asked[0].proxy == Secret("http://me:pw@p.example:1")


async def test_a_followed_store_that_is_gone_leaves_the_last_token_until_it_ends(directory, service, keeper, tmp_path):
    imported = ImportedAccount(index=0, credentials=social(timedelta(minutes=2)))
    account = directory.add(imported, mode="follow", source=str(tmp_path / "gone.json")).account
    assert (await keeper.access(account.id)).token == "access-0"


async def test_an_account_nobody_knows_has_no_access(keeper):
    with pytest.raises(SignInNeeded):
        await keeper.access("nobody")


async def test_changed_settings_are_used_for_the_next_refresh(directory, service, clock):
    keeper = AccessKeeper(directory, send, clock=clock, monotonic=clock.monotonic)
    keeper.configure(RefreshUrls(social_url=service.url), "eu-central-1")
    account = add(directory, social(timedelta(0)))
    assert (await keeper.access(account.id)).token == "access-1"
