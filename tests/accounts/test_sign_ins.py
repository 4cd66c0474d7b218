"""From a file of another program to a token that Kiro accepts: import, store, refresh, for every kind of sign-in."""

import json
from datetime import UTC, datetime

import pytest

from kiro.accounts.access import AccessKeeper
from kiro.accounts.directory import AccountDirectory
from kiro.auth.formats import read_import
from kiro.auth.http import HttpAsk, HttpReply
from kiro.auth.refresh import RefreshUrls
from kiro.emulator.accounts import Person, Tokens
from kiro.emulator.seed import demo_credentials
from kiro.errors import SignInNeeded
from kiro.storage.database import Database
from kiro.storage.paths import find_paths
from kiro.storage.secrets import Surroundings
from kiro.storage.vault import Vault


@pytest.fixture
def directory(tmp_path):
    paths = find_paths({"KIRO_HOME": str(tmp_path)})
    with Database(paths.database_file) as database:
        vault = Vault(paths.vault_file, Surroundings(paths.key_file, use_keyring=False))
        yield AccountDirectory(database, vault, paths.locks_dir)


@pytest.fixture
def keeper(directory, emulator, session, clock):
    async def send(ask: HttpAsk) -> HttpReply:
        async with session.request(ask.method, ask.url, headers=dict(ask.headers), data=ask.body) as reply:
            return HttpReply(
                reply.status, {name.lower(): value for name, value in reply.headers.items()}, await reply.read()
            )

    urls = RefreshUrls(social_url=emulator.url, oidc_url=emulator.url)
    return AccessKeeper(directory, send, urls=urls, clock=lambda: datetime.fromtimestamp(clock(), UTC), monotonic=clock)


def export(person: Person, tokens: Tokens) -> bytes:
    """As an account manager would write it."""
    if person.kind == "api_key":
        return json.dumps({"kiroApiKey": tokens.access}).encode()
    fields = {
        "accessToken": tokens.access,
        "refreshToken": tokens.refresh,
        "expiresAt": tokens.expires_at,
        "authMethod": {"builder_id": "builder-id"}.get(person.kind, person.kind),
        "email": person.email,
        "profileArn": person.profile_arn,
    }
    if person.client is not None:
        fields |= {"clientId": person.client.id, "clientSecret": person.client.secret, "region": "us-east-1"}
    if person.kind == "external_idp":
        fields |= {"clientId": "company", "tokenEndpoint": "https://login.microsoftonline.com/t/oauth2/token"}
    return json.dumps(fields).encode()


def add(directory: AccountDirectory, data: bytes, clock) -> str:
    now = datetime.fromtimestamp(clock(), UTC)
    [imported] = read_import(data, name="f.json", siblings=lambda _name: None, now=now).accounts
    return directory.add(imported, now=now).account.id


@pytest.mark.parametrize("kind", ["social", "builder_id", "idc", "external_idp", "api_key"])
async def test_an_imported_sign_in_works_and_goes_on_working(directory, keeper, emulator, clock, kind):
    person = emulator.people.add("ann", kind)
    account_id = add(directory, export(person, emulator.people.issue(person)), clock)
    tokens = set()
    for _ in range(3):
        access = await keeper.access(account_id)
        assert emulator.people.owner(access.token) is person
        assert (access.token_type, access.profile_arn) == (person.token_type, person.profile_arn)
        tokens.add(access.token)
        clock.advance(3500)
    assert len(tokens) == (1 if kind == "api_key" else 3)


@pytest.mark.parametrize("kind", ["social", "builder_id", "idc", "external_idp"])
async def test_a_sign_in_that_was_ended_elsewhere_asks_for_a_new_one(directory, keeper, emulator, clock, kind):
    person = emulator.people.add("ann", kind)
    account_id = add(directory, export(person, emulator.people.issue(person)), clock)
    access = await keeper.access(account_id)
    emulator.people.revoke(person)
    with pytest.raises(SignInNeeded, match="ann"):
        await keeper.refresh_now(account_id, access.token)
    assert directory.get(account_id).state == "invalid"


async def test_the_sign_in_of_the_demo_is_read(directory, keeper, emulator, clock):
    account_id = add(directory, json.dumps(demo_credentials(emulator)).encode(), clock)
    assert emulator.people.owner((await keeper.access(account_id)).token).name == "demo"
