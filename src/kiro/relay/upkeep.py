"""What accounts need while nobody asks for them: tokens renewed ahead, credits looked up, spent ones freed again.

Looking up the credits is also the health check of an account that is not in use: it costs nothing, and a
dead sign-in or a suspension shows before a request runs into it. No account is asked more than once a minute.

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
from kiro.accounts.account import MENDED_BY_A_SIGN_IN, SET_ASIDE, Account, usage_snapshot
from kiro.accounts.health import Health
from kiro.accounts.turns import Turns
from kiro.errors import AccountSuspended, KiroError, TokenRejected
from kiro.upstream.queries import UsageLimits

_TICK_S: Final = 5.0
_TOKENS_EVERY_S: Final = 300.0
_AHEAD: Final = timedelta(minutes=15)
_USAGE_EVERY_S: Final = 300.0
_LEAST_S: Final = 60.0
_RECHECK_EVERY_S: Final = 3600.0

log: Final = logging.getLogger("kiro")


class Due(msgspec.Struct, frozen=True):
    """What one account needs now.

    `usage`: it was used, or not for long. `recheck`: it is resting without credits, and there may be some again.
    `look`: its sign-in is dead, but belongs to another program, which may have a new one.
    """

    token: bool = False
    usage: bool = False
    recheck: bool = False
    look: bool = False


def due(
    account: Account,
    health: Health,
    *,
    last_used: float,
    token_asked: float,
    usage_asked: float,
    now: float,
    check_every_s: float = 0.0,
) -> Due:
    """`last_used`, `token_asked` and `usage_asked` are when each last happened in this process; all in seconds.

    `check_every_s`: after how long without use an account is looked at; 0 never.
    """
    if not account.enabled:
        return Due()
    if account.state in SET_ASIDE:
        mendable = account.mode != "own" and account.state in MENDED_BY_A_SIGN_IN
        return Due(look=mendable and now - token_asked >= _LEAST_S)
    told = account.usage.taken_at.timestamp() if account.usage is not None and account.usage.taken_at else 0.0
    known = max(usage_asked, told)
    resting = health.resting(now)
    after_use = last_used > known and now - known >= _USAGE_EVERY_S
    unused = check_every_s > 0 and now - max(known, last_used) >= max(check_every_s, _LEAST_S)
    # at once, because Kiro tells when there will be credits again; then hourly, because there may be some earlier
    again = usage_asked < health.since or now - usage_asked >= _RECHECK_EVERY_S
    return Due(
        token=account.kind != "api_key" and account.mode == "own" and now - token_asked >= _TOKENS_EVERY_S,
        usage=not resting and (after_use or unused),
        recheck=resting and health.state == "exhausted" and again,
    )


class Upkeep:
    """`look_up` asks Kiro for the credits of an account (by id) and stores them.

    `check_every_s` is the interval of health checks, 0 for none. `learn` is told what a look has shown.
    """

    def __init__(
        self,
        accounts: Callable[[], Sequence[Account]],
        turns: Turns,
        keeper: AccessKeeper,
        look_up: Callable[[str], Awaitable[UsageLimits]],
        *,
        check_every_s: Callable[[], float] = lambda: 0.0,
        learn: Callable[[Account, KiroError], object] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = accounts
        self._turns = turns
        self._keeper = keeper
        self._look_up = look_up
        self._check_every_s = check_every_s
        self._learn = learn or turns.learn
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
                check_every_s=self._check_every_s(),
            )
            try:
                if needs.token or needs.look:
                    self._token_asked[account.id] = self._clock()
                if needs.look:
                    await self._keeper.look_again(account.id)
                if needs.token:
                    await self._keeper.refresh_ahead(account.id, _AHEAD)
                if needs.usage or needs.recheck:
                    self._usage_asked[account.id] = self._clock()
                    await self._ask(account)
            except KiroError as error:
                log.info("upkeep of account %s: %s", account.name, error.message)

    async def _ask(self, account: Account) -> None:
        """Look up the credits. What only a person can mend sets the account aside; other trouble says nothing about it."""
        try:
            try:
                limits = await self._look_up(account.id)
            except TokenRejected:
                await self._keeper.refresh_now(account.id)
                limits = await self._look_up(account.id)
        except (AccountSuspended, TokenRejected) as error:
            self._learn(account, error)
            raise
        usage = usage_snapshot(limits, self._clock())
        if usage is not None:
            self._turns.credits_told(account.id, usage)
