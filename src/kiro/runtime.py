"""Builds everything that serving needs by hand, once, and closes it again.

`Runtime` holds the parts together, and watches what another process (a command in a second terminal)
changes: settings, accounts or keys.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from kiro.accounts.access import AccessKeeper
from kiro.accounts.account import Account
from kiro.accounts.locating import Locator
from kiro.accounts.roster import Roster
from kiro.auth.refresh import RefreshUrls
from kiro.errors import KiroError, UsageError
from kiro.home import Home
from kiro.relay.models import ModelShelf
from kiro.relay.questions import Questions, sender
from kiro.relay.recorder import LogWriter
from kiro.relay.relay import Relay
from kiro.relay.upkeep import Upkeep
from kiro.storage import request_log, responses_store
from kiro.storage.client_keys import ClientKey
from kiro.storage.settings import Settings, differences
from kiro.upstream.client import KiroClient

_WATCH_S: Final = 1.0
_MODELS_S: Final = 5.0
_HOUR_S: Final = 3600.0

log: Final = logging.getLogger("kiro")


class Runtime:
    """What serving needs. Made by `open_runtime`."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.settings: Settings = home.loaded.settings
        self.started_at = time.time()
        self._background: set[asyncio.Future[Any]] = set()
        settings = self.settings
        self.client = KiroClient(idle_timeout_s=settings.relay.idle_timeout_s)
        send = sender(self.client)
        self.keeper = AccessKeeper(home.accounts, send, urls=self._refresh_urls(), region=settings.upstream.region)
        self.questions = Questions(self.client, self.keeper, home.accounts, lambda: self.settings.upstream.url)
        self.models = ModelShelf(self.questions.models, home.paths.state_dir / "models.json")
        self.roster = Roster(
            home.accounts,
            home.database,
            self.keeper,
            Locator(home.accounts, self.keeper, send),
            lambda: self.settings.pool,
            lacking=self.models.lacking,
            later=self.later,
        )
        self.turns = self.roster.turns
        self.relay = Relay(
            client=self.client,
            keeper=self.keeper,
            turns=self.turns,
            set_aside=self.roster.set_aside,
            switch=self.roster.switch,
            locate=lambda account: self.roster.locate(account, self.settings.upstream),
            move=self.roster.move,
            models=self.models,
            settings=lambda: self.settings,
        )
        self.upkeep = Upkeep(
            lambda: self.roster.accounts,
            self.turns,
            self.keeper,
            self.questions.look_up_usage,
            check_every_s=lambda: self.settings.pool.health_check_minutes * 60,
            learn=self.relay.learn,
        )
        self.log = LogWriter(lambda rows: request_log.append_many(home.database, rows), log.warning)
        self._ring = home.keys.ring()
        self._keys_version = home.keys.version()
        self._config_stamp = self._stamp()
        self.on_notice: Callable[[str], None] = log.info
        """Told in one sentence when something changed while serving."""
        self._apply_settings()
        self.roster.reload()

    def _refresh_urls(self) -> RefreshUrls:
        auth = self.settings.auth
        return RefreshUrls(auth.social_url, auth.oidc_url, auth.external_hosts)

    @property
    def accounts(self) -> list[Account]:
        """The accounts as last seen; at most a second old."""
        return self.roster.accounts

    def find_key(self, text: str) -> ClientKey | None:
        return self._ring.match(text)

    def reload_keys(self) -> bool:
        """Reads the client keys again if another process changed them; whether it did."""
        version = self.home.keys.version()
        if version == self._keys_version:
            return False
        self._ring, self._keys_version = self.home.keys.ring(), version
        return True

    def report(self, request_id: str, error: BaseException) -> None:
        """Something nobody foresaw: the log file gets the traceback, redacted."""
        log.error("request %s failed unexpectedly", request_id, exc_info=error)

    # -- life

    async def _watch(self) -> None:
        """Notices what other processes change."""
        while True:
            try:
                if await asyncio.to_thread(self._look):
                    await self.roster.refresh()
            except KiroError as error:
                log.warning("%s", error.full_text())
            await asyncio.sleep(_WATCH_S)

    async def _stock_models(self) -> None:
        """Asks for models while there is somebody who may be asked: not who is set aside, not who rests."""
        while True:
            try:
                for account in list(self.accounts):
                    if self.turns.serves(account.id):
                        await self.models.refresh(account.id)
            except KiroError as error:
                log.warning("%s", error.full_text())
            await asyncio.sleep(_MODELS_S)

    def _look(self) -> bool:
        """Reads again what changed on disk; whether an account or a setting did."""
        changed = self.roster.reload()
        self.reload_keys()
        stamp = self._stamp()
        if stamp != self._config_stamp:
            self._config_stamp = stamp
            self._reload_settings()
            changed = True
        return changed

    def _reload_settings(self) -> None:
        try:
            loaded = self.home.load_again()
        except UsageError as error:
            self.on_notice(f"config.toml was not taken over: {error.full_text()}")
            return
        changed = differences(self.settings, loaded.settings)
        self.settings = loaded.settings
        self._apply_settings()
        hot = [row.key for row in changed if row.hot]
        cold = [row.key for row in changed if not row.hot]
        if hot:
            self.on_notice(f"Now in effect: {', '.join(hot)}.")
        if cold:
            self.on_notice(f"In effect after a restart: {', '.join(cold)}.")

    def _apply_settings(self) -> None:
        """Hands changed settings to the parts that keep a copy."""
        settings = self.settings
        self.keeper.configure(self._refresh_urls(), settings.upstream.region)
        proxy = self.home.upstream_proxy(settings)
        self.client.configure(idle_timeout_s=settings.relay.idle_timeout_s, proxy=proxy)
        models = settings.models
        self.models.configure(
            aliases=models.aliases, hidden=models.hidden, suffix=models.thinking_suffix or "", compat=models.compat
        )

    def _stamp(self) -> tuple[int, int] | None:
        try:
            stat = self.home.paths.config_file.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size

    def later(self, work: Awaitable[Any]) -> None:
        """Does something beside the requests; waited for at the end."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def settled(self) -> None:
        """Waits for what `later` was given so far."""
        await asyncio.gather(*self._background, return_exceptions=True)

    def works(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """What goes on in the background while serving."""
        return self._watch, self._stock_models, self._prune, self.upkeep.run

    async def _prune(self) -> None:
        """Deletes what is old, at the start and every hour: that long are responses kept that were not to be stored."""
        while True:
            settings, database = self.settings, self.home.database
            try:
                await asyncio.to_thread(request_log.prune, database, settings.log.retention_days, now=time.time())
                await asyncio.to_thread(
                    responses_store.prune, database, settings.responses.retention_days, now=time.time()
                )
            except KiroError as error:
                log.warning("old log rows and responses were not deleted: %s", error)
            await asyncio.sleep(_HOUR_S)


@asynccontextmanager
async def open_runtime(home: Home, *, background: bool = True) -> AsyncIterator[Runtime]:
    """Everything running; `background` False leaves out the watch and the pruning, for one question."""
    runtime = Runtime(home)
    async with runtime.client, runtime.log:
        works = runtime.works() if background else ()
        tasks = [asyncio.create_task(work()) for work in works]
        try:
            yield runtime
        finally:
            for task in tasks:
                task.cancel()
            await runtime.keeper.close()
            await asyncio.gather(*tasks, *runtime._background, return_exceptions=True)  # noqa: SLF001  its own module
