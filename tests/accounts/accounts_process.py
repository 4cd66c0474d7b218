"""Another process with the same home: asks for an Access and prints its token."""

from pathlib import Path

import aiohttp

from kiro.accounts.access import AccessKeeper
from kiro.accounts.directory import AccountDirectory
from kiro.auth.http import HttpAsk, HttpReply
from kiro.auth.refresh import RefreshUrls
from kiro.storage.database import Database
from kiro.storage.paths import find_paths
from kiro.storage.secrets import Surroundings
from kiro.storage.vault import Vault


async def send(ask: HttpAsk) -> HttpReply:
    async with (
        aiohttp.ClientSession() as session,
        session.request(ask.method, ask.url, headers=dict(ask.headers), data=ask.body) as reply,
    ):
        return HttpReply(reply.status, dict(reply.headers), await reply.read())


async def run(home: str, url: str, account_id: str) -> None:
    paths = find_paths({"KIRO_HOME": str(Path(home))})
    with Database(paths.database_file) as database:
        vault = Vault(paths.vault_file, Surroundings(paths.key_file, use_keyring=False))
        keeper = AccessKeeper(
            AccountDirectory(database, vault, paths.locks_dir), send, urls=RefreshUrls(social_url=url)
        )
        print((await keeper.access(account_id)).token)  # noqa: T201
