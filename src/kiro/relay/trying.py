"""Choose an account, get its access, try; after a failure mend, repeat, or take the next: until an answer has begun.

`retry` decides what may help, `accounts` whose turn it is and what a failure costs whom. Here they are asked in
the right order: a failure costs an account nothing while something is left that may mend it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from kiro.accounts.account import Account
from kiro.accounts.health import Outcome, SwitchFlavour
from kiro.accounts.pool import Ask, Reach
from kiro.conversation.messages import Conversation
from kiro.errors import KiroError, SignInNeeded, UpstreamError
from kiro.relay.relay import Relay
from kiro.relay.retry import (
    FindProfile,
    GiveUp,
    NextAccount,
    RefreshAndRepeat,
    Repeat,
    RepeatWithout,
    Step,
    Tries,
    decide,
    mend,
    new_jitter,
    taken,
)
from kiro.upstream.catalogue import Model
from kiro.upstream.endpoints import Access


class Attempt(msgspec.Struct):
    """One try at one account (its id), for the log. `started_at` is wall-clock seconds, `duration_ms` up to its end."""

    account: str
    started_at: float
    duration_ms: float = 0.0
    status: int | None = None
    error: str | None = None
    message: str | None = None
    reason: str | None = None
    upstream_id: str | None = None

    def failed(self, error: KiroError) -> None:
        self.error = type(error).__name__
        self.message = error.message
        if isinstance(error, UpstreamError):
            self.status = error.upstream_status or self.status
            self.reason = error.reason
            self.upstream_id = error.upstream_id or self.upstream_id


Begin: TypeAlias = Callable[[Access, frozenset[str], Attempt], Awaitable[bool]]
"""Sends the request, without what is dropped, and returns when its answer has begun: False if it broke in the same moment.

Leaves nothing open when it raises.
"""


class Trying:
    """The tries of one answer. `attempts` and `notes` are for the log."""

    def __init__(self, relay: Relay, model: Model, reach: Reach) -> None:
        self._relay = relay
        self._model = model
        self._reach = reach
        self.attempts: list[Attempt] = []
        self.notes: list[str] = []
        self.account: Account | None = None
        self.deadline = 0.0
        """When patience for the beginning ends, in monotonic seconds."""
        self._place: str | None = None
        """The account with which this answer has a place; given back as soon as an attempt is over."""
        self._token: str | None = None
        """The access token of the attempt; None when it failed before Kiro was asked."""
        self._region: str | None = None
        """Where the account is tried, in place of where it is known to be answered."""

    async def until_begun(self, begin: Begin, conversation: Conversation, session: str, failed: frozenset[str]) -> None:
        """Returns when an answer has begun. `failed` are ids of accounts not to ask. Raises when no try got that far."""
        self.deadline = time.monotonic() + self._relay.settings().relay.max_seconds
        tries = Tries(total=len(self.attempts) + 1, dropped=self._known_refused(conversation), failed=failed)
        account: Account | None = None
        last: KiroError | None = None
        while True:
            if account is None:
                account, self._region = await self._claim(session, tries.failed, last), None
            began = time.time()
            try:
                lasts = await self._try(begin, account, tries.dropped)
            except KiroError as error:
                last = error
            else:
                if lasts:  # otherwise it broke in the same moment, and that is learned already
                    self._relay.learn(account, None, model=self._model, began=began)
                self._keep_what_helped(account, tries)
                return
            step = self._decide(account, last, tries)
            outcome = self._learn(account, last, tries, began)
            if isinstance(outcome, SwitchFlavour) and not isinstance(step, GiveUp):
                account, step = await self._switched(account, outcome), Repeat()
            if isinstance(step, RefreshAndRepeat):
                dead = await self._refresh(account)
                step, last = (step, last) if dead is None else (NextAccount(), dead)
            elif isinstance(step, FindProfile):
                step = await self._find_profile(account, last, tries, began)
            elif isinstance(step, Repeat):
                await asyncio.sleep(step.delay_s)
            elif isinstance(step, RepeatWithout):
                self.notes.append(f"repeated without {step.what}: {last.message}")
            elif isinstance(step, GiveUp):
                self.leave()
                raise last
            if isinstance(step, NextAccount) or not self._relay.turns.serves(account.id):
                self.leave()
                tries, account = taken(NextAccount(), tries, account.id), None
            else:
                tries = taken(step, tries, account.id)

    def broke(self, error: KiroError, *, begun: bool) -> None:
        """The answer of the last attempt broke. Once it had begun, nothing is tried here that could mend it."""
        self.attempts[-1].failed(error)
        if begun and self.account is not None:
            self._learn(self.account, error, Tries(), self.attempts[-1].started_at)

    def leave(self, *, spent: float = 0.0) -> None:
        """Gives the place back, for whoever waits. `spent` are the credits that the answer has cost."""
        if self._place is not None:
            place, self._place = self._place, None
            self._relay.turns.leave(place, spent=spent)

    # -- one step each

    async def _try(self, begin: Begin, account: Account, dropped: frozenset[str]) -> bool:
        attempt = Attempt(account.id, time.time())
        started = time.perf_counter()
        self.account = account
        self.attempts.append(attempt)
        self._token = None
        try:
            access = await self._relay.keeper.access(account.id)
            self._token = access.token
            if self._region is not None:
                access = msgspec.structs.replace(access, region=self._region)
            return await begin(access, dropped, attempt)
        except KiroError as error:
            attempt.failed(error)
            raise
        finally:
            attempt.duration_ms = (time.perf_counter() - started) * 1000

    def _known_refused(self, conversation: Conversation) -> frozenset[str]:
        """What this model is known to refuse, so that it is not sent in vain."""
        if self._relay.takes_fields(self._model):
            return frozenset()
        wish, note = conversation.thinking, f"sent without fields: {self._model.id} refused them a while ago"
        if (wish.mode is not None or wish.effort is not None) and note not in self.notes:
            self.notes.append(note)
        return frozenset({"fields"})

    def _decide(self, account: Account, error: KiroError, tries: Tries) -> Step:
        settings = self._relay.settings().relay
        step = decide(
            error,
            tries,
            most_here=settings.max_attempts_per_account,
            most=settings.max_attempts,
            refreshable=self._refreshable(account),
            jitter=new_jitter(),
        )
        if time.monotonic() + (step.delay_s if isinstance(step, Repeat) else 0.0) >= self.deadline:
            self.notes.append(f"gave up after relay.max_seconds ({settings.max_seconds:g} s)")
            return GiveUp()
        return step

    def _refreshable(self, account: Account) -> bool:
        return account.kind != "api_key" and self._token is not None

    def _learn(self, account: Account, error: KiroError, tries: Tries, began: float) -> Outcome | None:
        """Costs the account nothing while something may mend it, or when Kiro was not even asked."""
        if self._token is None and not isinstance(error, SignInNeeded):
            return None
        if mend(error, tries, refreshable=self._refreshable(account)) is not None:
            return None
        return self._relay.learn(account, error, model=self._model, began=began)

    async def _find_profile(self, account: Account, error: KiroError, tries: Tries, began: float) -> Step:
        found = await self._relay.locate(account) if self._region is None else None
        if found is None:
            located = taken(FindProfile(), tries, account.id)
            self._learn(account, error, located, began)
            return self._decide(account, error, msgspec.structs.replace(located, total=tries.total))
        self._region = found.region
        self.notes.append(f"{account.name}: {found.what}")
        return FindProfile()

    def _keep_what_helped(self, account: Account, tries: Tries) -> None:
        if "fields" in tries.dropped and self._relay.takes_fields(self._model):
            self._relay.leave_out_fields(self._model)
        if self._region is not None:
            self._relay.move(account, self._region)

    async def _claim(self, session: str, failed: frozenset[str], last: KiroError | None) -> Account:
        """A place with the account whose turn it is. With none left, the failure of the last one tells more."""
        turns, reach = self._relay.turns, self._reach
        ask = Ask(self._model.id, session, reach.only, failed, reach.allowed, reach.first)
        try:
            account = turns.take_now(ask) if not turns.waiting else None
            if account is None:
                account = await self._queue(ask)
        except KiroError as error:
            if last is None:
                raise
            self.notes.append(f"no other account: {error.message}")
            raise last from None
        self._place = account.id
        return account

    async def _queue(self, ask: Ask) -> Account:
        began = time.monotonic()
        try:
            return await self._relay.turns.take(ask, patience_s=max(0.0, self.deadline - began))
        finally:
            self.notes.append(f"waited {time.monotonic() - began:.1f} s for a free place")

    async def _refresh(self, account: Account) -> KiroError | None:
        """A new token for the same account; the error when that cannot be had."""
        try:
            await self._relay.keeper.refresh_now(account.id, self._token)
        except KiroError as error:
            self._relay.learn(account, SignInNeeded(f"Kiro wants a new token, and there is none: {error.message}"))
            return error
        return None

    async def _switched(self, account: Account, outcome: SwitchFlavour) -> Account:
        self.notes.append(f"{account.name} uses the API flavour {outcome.flavour} from now on: it may not use this one")
        return await self._relay.switch(account, outcome)
