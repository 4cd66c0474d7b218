"""What accounts need while nobody asks for them: tokens renewed ahead, credits looked up, spent ones freed again.

`due` says what to do, purely; `Upkeep` does it, one account after the other, so that two hundred accounts
make no burst. A failure here is nobody's request: it is logged, and tried again later.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from kiro.accounts.access import AccessKeeper
from kiro.accounts.account import Account, usage_snapshot
from kiro.accounts.health import Health
from kiro.accounts.turns import Turns
from kiro.errors import KiroError
from kiro.upstream.queries import UsageLimits

_TICK_S: Final = 5.0
_TOKENS_EVERY_S: Final = 300.0
_AHEAD: Final = timedelta(minutes=15)
_USAGE_EVERY_S: Final = 600.0
_RECHECK_EVERY_S: Final = 3600.0
_DEAD: Final = frozenset({"suspended", "invalid", "misconfigured", "needs_profile"})

log: Final = logging.getLogger("kiro")


class Due(msgspec.Struct, frozen=True):
    """What one account needs now. `recheck`: it is resting without credits, and there may be some again."""

    token: bool = False
    usage: bool = False
    recheck: bool = False


def due(
    account: Account, health: Health, *, last_used: float, token_asked: float, usage_asked: float, now: float
) -> Due:
    """`last_used`, `token_asked` and `usage_asked` are when each last happened in this process; all in seconds."""
    if not account.enabled or account.state in _DEAD:
        return Due()
    told = account.usage.taken_at.timestamp() if account.usage is not None and account.usage.taken_at else 0.0
    known = max(usage_asked, told)
    resting = health.state == "exhausted" and health.resting(now)
    return Due(
        token=account.kind != "api_key" and account.mode == "own" and now - token_asked >= _TOKENS_EVERY_S,
        usage=not resting and last_used > known and now - known >= _USAGE_EVERY_S,
        recheck=resting and now - max(usage_asked, health.since) >= _RECHECK_EVERY_S,
    )


class Upkeep:
    """`look_up` asks Kiro for the credits of an account (by id) and stores them."""

    def __init__(
        self,
        accounts: Callable[[], Sequence[Account]],
        turns: Turns,
        keeper: AccessKeeper,
        look_up: Callable[[str], Awaitable[UsageLimits]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = accounts
        self._turns = turns
        self._keeper = keeper
        self._look_up = look_up
        self._clock = clock
        self._token_asked: dict[str, float] = {}
        self._usage_asked: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            await self.once()
            await asyncio.sleep(_TICK_S)

    async def once(self) -> None:
        """Does what is due now, for every account."""
        for account in list(self._accounts()):
            needs = due(
                account,
                self._turns.health(account.id),
                last_used=self._turns.last_used(account.id),
                token_asked=self._token_asked.get(account.id, 0.0),
                usage_asked=self._usage_asked.get(account.id, 0.0),
                now=self._clock(),
            )
            try:
                if needs.token:
                    self._token_asked[account.id] = self._clock()
                    await self._keeper.refresh_ahead(account.id, _AHEAD)
                if needs.usage or needs.recheck:
                    self._usage_asked[account.id] = self._clock()
                    usage = usage_snapshot(await self._look_up(account.id), self._clock())
                    if usage is not None:
                        self._turns.credits_told(account.id, usage)
            except KiroError as error:
                log.info("upkeep of account %s: %s", account.name, error.message)
