"""The accounts of a running server: in memory, changed there at once, written down beside the requests.

The disk is the truth that all processes share; what changes here is written soon, and what changes there
(by a command in a second terminal) is taken over by `reload`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from kiro.accounts import health_rows
from kiro.accounts.access import AccessKeeper
from kiro.accounts.account import Account
from kiro.accounts.directory import AccountDirectory
from kiro.accounts.health import FINE, Health, SetAside, SwitchFlavour
from kiro.accounts.locating import Found, Locator
from kiro.accounts.turns import Turns
from kiro.errors import KiroError
from kiro.storage.database import Database
from kiro.storage.sections import PoolSettings, UpstreamSettings

log: Final = logging.getLogger("kiro")

Later = Callable[[Awaitable[Any]], None]


class Roster:
    """`turns` are these accounts' turns. `lacking` tells the ids of accounts without a model; `later` does something
    beside the requests.
    """

    def __init__(
        self,
        directory: AccountDirectory,
        database: Database,
        keeper: AccessKeeper,
        locator: Locator,
        rules: Callable[[], PoolSettings],
        *,
        lacking: Callable[[str], frozenset[str]],
        later: Later,
    ) -> None:
        self._directory = directory
        self._database = database
        self._keeper = keeper
        self._locator = locator
        self._later = later
        self._version = -1
        self._unsaved: dict[str, Health] = {}
        self.accounts: list[Account] = []
        """As last seen; at most a second old. A new list whenever something changes."""
        self.turns = Turns(
            lambda: self.accounts,
            rules,
            lacking=lacking,
            changed=self._remember,
            health=health_rows.load(database),
        )

    def reload(self) -> bool:
        """Reads the accounts again if another process changed them; whether it did. Blocks."""
        version = self._directory.version()
        if version == self._version:
            return False
        self.accounts, self._version = self._directory.list(), version
        return True

    async def refresh(self) -> None:
        """After `reload` found changes: what is in memory about accounts is looked up anew."""
        self._keeper.forget()
        stored = await asyncio.to_thread(health_rows.load, self._database)
        for account in self.accounts:
            if account.id not in self._unsaved:  # what is not written yet is newer
                self.turns.set_health(account.id, stored.get(account.id, FINE), tell=False)
        self.turns.refresh()

    def set_aside(self, account: Account, outcome: SetAside) -> None:
        """An account that needs a person is not used any more, with the reason where the person will look."""
        log.warning("account %s is set aside: %s (%s)", account.name, outcome.state, outcome.reason)
        known = next((one for one in self.accounts if one.id == account.id), account)
        self._replace(msgspec.structs.replace(known, state=outcome.state, reason=outcome.reason))
        self._later(asyncio.to_thread(self._directory.set_state, account.id, outcome.state, outcome.reason))

    async def switch(self, account: Account, outcome: SwitchFlavour) -> Account:
        """The account asks another API of Kiro's from now on."""
        known = next((one for one in self.accounts if one.id == account.id), account)
        if known.flavour == outcome.flavour:
            return known  # another request was faster
        log.warning("account %s uses the API flavour %s from now on", account.name, outcome.flavour)
        switched = await asyncio.to_thread(lambda: self._directory.change(account.id, flavour=outcome.flavour))
        self._take_over(switched)
        return switched

    async def locate(self, account: Account, upstream: UpstreamSettings) -> Found | None:
        """Another profile or region for an account whose profile Kiro refused."""
        found = await self._locator.locate(account, upstream.url, upstream.region)
        if found is not None and found.region is None:
            self._take_over(await asyncio.to_thread(self._directory.get, account.id))
        return found

    def move(self, account: Account, region: str) -> None:
        """Kiro has answered for the account in this region, and not where it was asked before."""
        log.warning("account %s is asked in %s from now on", account.name, region)
        self._later(self._moved(account.id, region))

    async def _moved(self, account_id: str, region: str) -> None:
        self._take_over(await asyncio.to_thread(lambda: self._directory.change(account_id, region=region)))

    def _take_over(self, changed: Account) -> None:
        """An account that was changed here, before the disk is looked at again."""
        self._keeper.forget(changed.id)
        self._replace(changed)

    def _replace(self, changed: Account) -> None:
        self.accounts = [changed if one.id == changed.id else one for one in self.accounts]
        self.turns.refresh()

    def _remember(self, account: Account, health: Health) -> None:
        """Writes health down, soon and elsewhere; several changes at a time go together."""
        if health.state != "active":
            log.info("account %s: %s, %s", account.name, health.state, health.reason)
        idle = not self._unsaved
        self._unsaved[account.id] = health
        if idle:
            self._later(self._save())

    async def _save(self) -> None:
        while self._unsaved:
            batch = dict(self._unsaved)
            try:
                await asyncio.to_thread(health_rows.save, self._database, batch)
            except KiroError as error:
                log.warning("the health of accounts is not written down: %s", error)
            for account_id, health in batch.items():
                if self._unsaved.get(account_id) is health:
                    del self._unsaved[account_id]
