"""Builds everything by hand, once, and closes it again.

`Home` is what lies on this computer: settings, database, vault, accounts, client keys. Each part is
opened when first used, so a command pays only for what it needs. `Runtime` adds what serving needs: the
connections, the relay, the log writer, and a watch that notices when another process (a command in a
second terminal) has changed settings, accounts or keys.
"""

import asyncio
import logging
import logging.handlers
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from kiro.errors import KiroError, UsageError
from kiro.storage.paths import Paths, find_paths
from kiro.storage.settings import Loaded, Settings, differences, load

if TYPE_CHECKING:
    from kiro.accounts.account import Account
    from kiro.accounts.directory import AccountDirectory
    from kiro.accounts.health import Health, SetAside, SwitchFlavour
    from kiro.accounts.locating import Found
    from kiro.accounts.pool import Reach
    from kiro.auth.http import HttpAsk, HttpReply
    from kiro.auth.refresh import RefreshUrls
    from kiro.storage.client_keys import ClientKey, ClientKeys
    from kiro.storage.database import Database
    from kiro.storage.vault import Vault
    from kiro.upstream.catalogue import Model
    from kiro.upstream.queries import UsageLimits

_WATCH_S: Final = 1.0
_LOG_BYTES: Final = 5 * 1024 * 1024
_USAGE_FRESH_S: Final = 300.0
_USAGE_AGAIN_S: Final = 60.0
_MODELS_S: Final = 5.0
_HOUR_S: Final = 3600.0

log: Final = logging.getLogger("kiro")


class Home:
    """What lies on this computer. `flags` are settings from the command line, by key."""

    def __init__(
        self,
        env: Mapping[str, str] | None = None,
        flags: Mapping[str, Any] | None = None,
        *,
        ask_passphrase: Callable[[bool], str | None] | None = None,
        use_keyring: bool = True,
    ) -> None:
        self.env = dict(os.environ if env is None else env)
        self.flags = dict(flags or {})
        self.paths: Paths = find_paths(self.env)
        self._ask_passphrase = ask_passphrase
        self._use_keyring = use_keyring

    @cached_property
    def loaded(self) -> Loaded:
        return load(self.paths, self.env, self.flags)

    def load_again(self) -> Loaded:
        """Settings as they are now, without changing what `loaded` says."""
        return load(self.paths, self.env, self.flags)

    @cached_property
    def database(self) -> "Database":
        from kiro.storage.database import Database

        self.paths.make_folders()
        return Database(self.paths.database_file)

    @cached_property
    def vault(self) -> "Vault":
        from kiro.storage.secrets import Surroundings
        from kiro.storage.vault import Vault

        self.paths.make_folders()
        around = Surroundings(
            self.paths.key_file, self.env, ask_passphrase=self._ask_passphrase, use_keyring=self._use_keyring
        )
        return Vault(self.paths.vault_file, around)

    def upstream_proxy(self, settings: Settings) -> str | None:
        """The proxy for all accounts, with its password. Blocks."""
        from kiro.storage import proxy_password

        return proxy_password.whole(self.vault, settings.upstream.proxy)

    @cached_property
    def accounts(self) -> "AccountDirectory":
        from kiro.accounts.directory import AccountDirectory

        return AccountDirectory(self.database, self.vault, self.paths.locks_dir)

    @cached_property
    def keys(self) -> "ClientKeys":
        from kiro.storage.client_keys import ClientKeys

        return ClientKeys(self.database, self.vault)

    def close(self) -> None:
        if "database" in self.__dict__:
            self.database.close()


class Runtime:
    """What serving needs. Made by `open_runtime`."""

    def __init__(self, home: Home) -> None:
        from kiro.accounts import health_rows
        from kiro.accounts.access import AccessKeeper
        from kiro.accounts.locating import Locator
        from kiro.accounts.turns import Turns
        from kiro.relay.models import ModelShelf
        from kiro.relay.recorder import LogWriter
        from kiro.relay.relay import Relay
        from kiro.relay.upkeep import Upkeep
        from kiro.storage import request_log
        from kiro.upstream.client import KiroClient

        self.home = home
        self.settings: Settings = home.loaded.settings
        self.started_at = time.time()
        settings = self.settings
        self.client = KiroClient(idle_timeout_s=settings.relay.idle_timeout_s)
        self.keeper = AccessKeeper(
            home.accounts, self._send, urls=self._refresh_urls(), region=settings.upstream.region
        )
        self._locator = Locator(home.accounts, self.keeper, self._send)
        self.models = ModelShelf(self.ask_models, home.paths.state_dir / "models.json")
        self._accounts: list[Account] = []
        self._accounts_version = -1
        self._ring = home.keys.ring()
        self._keys_version = home.keys.version()
        self._config_stamp = self._stamp()
        self._usage: dict[str, tuple[float, UsageLimits]] = {}
        self._usage_failed: dict[str, tuple[float, KiroError]] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._unsaved: dict[str, Health] = {}
        self.turns = Turns(
            lambda: self._accounts,
            lambda: self.settings.pool,
            lacking=self.models.lacking,
            changed=self._remember_health,
            health=health_rows.load(home.database),
        )
        self.relay = Relay(
            client=self.client,
            keeper=self.keeper,
            turns=self.turns,
            set_aside=self._set_aside,
            switch=self._switch,
            locate=self._locate,
            move=self._move,
            models=self.models,
            settings=lambda: self.settings,
        )
        self.upkeep = Upkeep(
            lambda: self._accounts,
            self.turns,
            self.keeper,
            self.look_up_usage,
            check_every_s=lambda: self.settings.pool.health_check_minutes * 60,
            learn=self.relay.learn,
        )
        self.log = LogWriter(lambda rows: request_log.append_many(home.database, rows), log.warning)
        self.on_notice: Callable[[str], None] = log.info
        """Told in one sentence when something changed while serving."""
        self._apply_settings()
        self._reload_accounts()

    def _refresh_urls(self) -> "RefreshUrls":
        from kiro.auth.refresh import RefreshUrls

        auth = self.settings.auth
        return RefreshUrls(auth.social_url, auth.oidc_url, auth.external_hosts)

    # -- accounts and keys

    @property
    def accounts(self) -> "list[Account]":
        """The accounts as last seen; at most a second old."""
        return self._accounts

    def account(self, name: str | None) -> "Account":
        """One account by name or id, or the one whose turn it is."""
        from kiro.accounts.pool import Reach

        return self.relay.choose(Reach(only=name))

    def find_key(self, text: str) -> "ClientKey | None":
        return self._ring.match(text)

    def reload_keys(self) -> bool:
        """Reads the client keys again if another process changed them; whether it did."""
        version = self.home.keys.version()
        if version == self._keys_version:
            return False
        self._ring, self._keys_version = self.home.keys.ring(), version
        return True

    def _reload_accounts(self) -> bool:
        version = self.home.accounts.version()
        if version != self._accounts_version:
            self._accounts, self._accounts_version = self.home.accounts.list(), version
            return True
        return False

    def _set_aside(self, account: "Account", outcome: "SetAside") -> None:
        """An account that needs a person is not used any more, with the reason where the person will look."""
        from msgspec.structs import replace

        log.warning("account %s is set aside: %s (%s)", account.name, outcome.state, outcome.reason)
        self._accounts = [
            replace(one, state=outcome.state, reason=outcome.reason) if one.id == account.id else one
            for one in self._accounts
        ]
        self.turns.refresh()
        self.later(asyncio.to_thread(self.home.accounts.set_state, account.id, outcome.state, outcome.reason))

    async def _switch(self, account: "Account", outcome: "SwitchFlavour") -> "Account":
        """The account asks another API of Kiro's from now on."""
        known = next((one for one in self._accounts if one.id == account.id), account)
        if known.flavour == outcome.flavour:
            return known  # another request was faster
        log.warning("account %s uses the API flavour %s from now on", account.name, outcome.flavour)
        switched: Account = await asyncio.to_thread(
            lambda: self.home.accounts.change(account.id, flavour=outcome.flavour)
        )
        self._take_over(switched)
        return switched

    async def _locate(self, account: "Account") -> "Found | None":
        upstream = self.settings.upstream
        found: Found | None = await self._locator.locate(account, upstream.url, upstream.region)
        if found is not None and found.region is None:
            self._take_over(await asyncio.to_thread(self.home.accounts.get, account.id))
        return found

    def _move(self, account: "Account", region: str) -> None:
        """Kiro has answered for the account in this region, and not where it was asked before."""
        log.warning("account %s is asked in %s from now on", account.name, region)
        self.later(self._moved(account.id, region))

    async def _moved(self, account_id: str, region: str) -> None:
        self._take_over(await asyncio.to_thread(lambda: self.home.accounts.change(account_id, region=region)))

    def _take_over(self, changed: "Account") -> None:
        """An account that was changed here, before the watch sees it."""
        self.keeper.forget(changed.id)
        self._accounts = [changed if one.id == changed.id else one for one in self._accounts]
        self.turns.refresh()

    def _remember_health(self, account: "Account", health: "Health") -> None:
        """Writes health down, soon and elsewhere; several changes at a time go together."""
        if health.state != "active":
            log.info("account %s: %s, %s", account.name, health.state, health.reason)
        idle = not self._unsaved
        self._unsaved[account.id] = health
        if idle:
            self.later(self._save_health())

    async def _save_health(self) -> None:
        from kiro.accounts import health_rows

        while self._unsaved:
            batch = dict(self._unsaved)
            try:
                await asyncio.to_thread(health_rows.save, self.home.database, batch)
            except KiroError as error:
                log.warning("the health of accounts is not written down: %s", error)
            for account_id, health in batch.items():
                if self._unsaved.get(account_id) is health:
                    del self._unsaved[account_id]

    def _take_over_health(self, stored: "dict[str, Health]") -> None:
        """What another process has changed: `kiro accounts restore` removes rows. What is not written yet is newer."""
        from kiro.accounts.health import FINE

        for account in self._accounts:
            if account.id not in self._unsaved:
                self.turns.set_health(account.id, stored.get(account.id, FINE), tell=False)

    # -- small questions to Kiro

    async def ask_models(self, account_id: str) -> "tuple[Model, ...]":
        from kiro.upstream import queries

        access = await self.keeper.access(account_id)
        models: tuple[Model, ...] = await self._ask(access, queries.models_ask, queries.read_models)
        return models

    async def usage(self, account_id: str) -> "UsageLimits":
        """Credits of one account, asked of Kiro at most every five minutes; after a failure not within a minute."""
        known = self._usage.get(account_id)
        if known is not None and time.time() - known[0] < _USAGE_FRESH_S:
            return known[1]
        failed = self._usage_failed.get(account_id)
        if failed is not None and time.time() - failed[0] < _USAGE_AGAIN_S:
            raise failed[1].with_traceback(None)
        try:
            return await self.look_up_usage(account_id)
        except KiroError as error:
            self._usage_failed[account_id] = (time.time(), error)
            raise

    async def look_up_usage(self, account_id: str) -> "UsageLimits":
        """Credits of one account, asked of Kiro now and kept for lists and for the choice of accounts."""
        from kiro.accounts.account import usage_snapshot
        from kiro.upstream import queries

        access = await self.keeper.access(account_id)

        def read(status: int, headers: Any, body: bytes) -> "UsageLimits":
            return queries.read_usage(status, headers, body, now=time.time())

        limits: UsageLimits = await self._ask(access, queries.usage_ask, read)
        self._usage[account_id] = (time.time(), limits)
        self._usage_failed.pop(account_id, None)
        snapshot = usage_snapshot(limits, time.time())
        if snapshot is not None:
            await asyncio.to_thread(self.home.accounts.set_usage, account_id, snapshot)
        return limits

    async def _ask(self, access: Any, make: Callable[..., Any], read: Callable[..., Any]) -> Any:
        """Asks with the profile; a 400 is repeated without it, because the services disagree about it."""
        base_url = self.settings.upstream.url
        ask = make(access, base_url)
        status, headers, body = await self.client.fetch(ask.method, ask.url, ask.headers, ask.body, proxy=access.proxy)
        if status == 400 and access.profile_arn:
            ask = make(access, base_url, with_profile=False)
            status, headers, body = await self.client.fetch(
                ask.method, ask.url, ask.headers, ask.body, proxy=access.proxy
            )
        return read(status, headers, body)

    async def _send(self, ask: "HttpAsk") -> "HttpReply":
        from kiro.auth.http import HttpReply

        proxy = ask.proxy.reveal() if ask.proxy is not None else None
        status, headers, body = await self.client.fetch(ask.method, ask.url, ask.headers, ask.body, proxy=proxy)
        return HttpReply(status, {name.lower(): value for name, value in headers.items()}, body)

    # -- for the server

    def report(self, request_id: str, error: BaseException) -> None:
        """Something nobody foresaw: the log file gets the traceback, redacted."""
        log.error("request %s failed unexpectedly", request_id, exc_info=error)

    async def stats(self, client: "ClientKey | None") -> dict[str, Any]:
        """Totals of the key's own requests."""
        key_id = client.id if client is not None else None
        await self.log.flush()
        row = await asyncio.to_thread(
            self.home.database.row,
            "SELECT count(*) AS requests, coalesce(sum(outcome = 'done'), 0) AS answered,"
            " coalesce(sum(input_tokens), 0) AS input_tokens, coalesce(sum(output_tokens), 0) AS output_tokens,"
            " coalesce(sum(credits), 0) AS credits FROM requests WHERE client_key IS ?",
            (key_id,),
        )
        totals = dict(row) if row is not None else {}
        now = {"in_flight": self.turns.in_flight, "waiting": self.turns.waiting}
        return {"uptime_s": round(time.time() - self.started_at), **now, **totals}

    async def usage_limits(self, reach: "Reach") -> dict[str, Any]:
        """Credits of one account, or of the one whose turn it is; of one that rests, too: they may say why."""
        from kiro.accounts.showing import shown

        account = self.turns.look_anyway(reach.ask())
        limits = await self.usage(account.id)
        how = shown(account, self.turns.health(account.id), now=time.time())
        return {
            "account": account.name,
            "state": how.state,
            "reason": how.reason,
            "until": how.until,
            "plan": limits.plan,
            "used": limits.used,
            "limit": limits.limit,
            "remaining": limits.remaining,
            "resets_at": limits.resets_at,
            "asked_at": self._usage[account.id][0],
            "overage": {
                "enabled": limits.overage_enabled,
                "used": limits.overage_used,
                "cap": limits.overage_cap,
                "budget": self.turns.budget(account.id),
            },
        }

    # -- life

    async def _watch(self) -> None:
        """Notices what other processes change."""
        from kiro.accounts import health_rows

        while True:
            try:
                if await asyncio.to_thread(self._look):
                    self.keeper.forget()
                    self._take_over_health(await asyncio.to_thread(health_rows.load, self.home.database))
                    self.turns.refresh()
            except KiroError as error:
                log.warning("%s", error.full_text())
            await asyncio.sleep(_WATCH_S)

    async def _stock_models(self) -> None:
        """Asks for models while there is somebody who may be asked: not who is set aside, not who rests."""
        while True:
            try:
                for account in list(self._accounts):
                    if self.turns.serves(account.id):
                        await self.models.refresh(account.id)
            except KiroError as error:
                log.warning("%s", error.full_text())
            await asyncio.sleep(_MODELS_S)

    def _look(self) -> bool:
        """Reads again what changed on disk; whether an account or a setting did."""
        changed = self._reload_accounts()
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

    def later(self, work: Any) -> None:
        """Does something beside the requests; waited for at the end."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def settled(self) -> None:
        """Waits for what `later` was given so far."""
        await asyncio.gather(*self._background, return_exceptions=True)

    def works(self) -> "tuple[Callable[[], Coroutine[Any, Any, None]], ...]":
        """What goes on in the background while serving."""
        return self._watch, self._stock_models, self._prune, self.upkeep.run

    async def _prune(self) -> None:
        """Deletes what is old, at the start and every hour: that long are responses kept that were not to be stored."""
        from kiro.storage import request_log, responses_store

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


def log_to_file(home: Home) -> None:
    """Sends the program's log, redacted, to the log file."""
    from kiro.redaction import RedactionFilter

    home.paths.make_folders()
    handler = logging.handlers.RotatingFileHandler(
        home.paths.log_file, maxBytes=_LOG_BYTES, backupCount=3, encoding="utf-8", delay=True
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    handler.addFilter(RedactionFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(home.loaded.settings.log.level.upper())
