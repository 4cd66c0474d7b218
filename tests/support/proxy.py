"""The whole proxy on a real socket, in front of the emulator, in a throw-away home."""

import contextlib
import io
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from kiro.auth.formats import read_import
from kiro.emulator.accounts import Person
from kiro.emulator.seed import social_file
from kiro.emulator.server import Emulator
from kiro.home import Home
from kiro.runtime import Runtime, open_runtime
from kiro.server.app import make_app

KEY = "sk-test-0123456789"
QUICK = {"relay.max_attempts_per_account": 2, "relay.max_attempts": 4}


class Proxy:
    """`url` and `key` for clients; `runtime`, `home` and `emulator` to look behind the scenes."""

    def __init__(self, url: str, runtime: Runtime, emulator: Emulator, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.key = KEY
        self.runtime = runtime
        self.home = runtime.home
        self.emulator = emulator
        self.session = session

    def post(self, path: str, document: Any, *, headers: Mapping[str, str] | None = None, key: str | None = KEY) -> Any:
        sent = {"x-api-key": key} if key else {}
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.session.post(self.url + path, data=io.BytesIO(data), headers={**sent, **(headers or {})})

    def get(self, path: str, *, headers: Mapping[str, str] | None = None, key: str | None = KEY) -> Any:
        return self.session.get(self.url + path, headers={**({"x-api-key": key} if key else {}), **(headers or {})})

    async def last_row(self) -> Any:
        """The newest row of the request log, with its attempts."""
        from kiro.storage import request_log

        await self.runtime.log.flush()
        (row,) = request_log.query(self.home.database, request_log.Filters(limit=1))
        return request_log.get(self.home.database, row.id)


def add_account(home: Home, emulator: Emulator, person: Person, name: str | None = None) -> None:
    data = json.dumps(social_file(emulator, person)).encode()
    report = read_import(data, name="kiro-auth-token.json", siblings=lambda _: None, now=datetime.now(UTC))
    for account in report.accounts:
        home.accounts.add(account, name=name or person.name)


@contextlib.asynccontextmanager
async def running_proxy(
    folder: Path,
    emulator: Emulator,
    *,
    people: tuple[str, ...] = ("first",),
    flags: Mapping[str, Any] | None = None,
    background: bool = False,
    direct: bool = True,
) -> AsyncIterator[Proxy]:
    env = {"KIRO_HOME": str(folder), "KIRO_UPSTREAM_URL": emulator.url, "KIRO_AUTH_SOCIAL_URL": emulator.url}
    home = Home(env, {**QUICK, **(flags or {})}, use_keyring=False)
    for priority, name in enumerate(people):
        person = emulator.people.persons.get(name) or emulator.people.add(name)
        add_account(home, emulator, person)
        home.accounts.change(name, priority=priority)
    home.keys.create("test", KEY)
    async with open_runtime(home, background=background) as runtime:
        runtime.client.direct = direct
        runner = web.AppRunner(make_app(runtime), access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
            yield Proxy(f"http://127.0.0.1:{runner.addresses[0][1]}", runtime, emulator, session)
        await runner.cleanup()
    home.close()
