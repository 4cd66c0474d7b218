"""What all answers share: connections, accounts and their health, models, what estimates have taught."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from kiro.accounts.access import AccessKeeper
from kiro.accounts.account import Account
from kiro.accounts.health import Outcome, SetAside, SwitchFlavour
from kiro.accounts.locating import Found
from kiro.accounts.pool import Ask, Reach
from kiro.accounts.turns import Turns
from kiro.conversation.events import (
    SearchHit,
    Usage,
)
from kiro.conversation.messages import Conversation
from kiro.errors import (
    AccountSuspended,
    KiroError,
    QuotaExhausted,
    RateLimited,
    TokenRejected,
)
from kiro.relay.fitting import Summaries
from kiro.relay.models import ModelShelf
from kiro.storage.settings import Settings
from kiro.upstream import media, queries
from kiro.upstream.catalogue import Model
from kiro.upstream.client import KiroClient
from kiro.upstream.endpoints import Access, Address, inference_address, new_call
from kiro.upstream.fetch import fetch_all
from kiro.upstream.request import build, session_ids

_CALIBRATION_STEP: Final = 0.2
_FIELDS_LEFT_OUT_S: Final = 3600.0
_ABOUT_THE_ACCOUNT: Final = (AccountSuspended, QuotaExhausted, RateLimited)
"""What a refused web search tells about conversations, too: a plan may lack searches and nothing else."""


class Relay:
    """One per process. `Answering` does the work of one answer with it."""

    def __init__(
        self,
        *,
        client: KiroClient,
        keeper: AccessKeeper,
        turns: Turns,
        set_aside: Callable[[Account, SetAside], None],
        switch: Callable[[Account, SwitchFlavour], Awaitable[Account]],
        locate: Callable[[Account], Awaitable[Found | None]],
        move: Callable[[Account, str], None],
        models: ModelShelf,
        settings: Callable[[], Settings],
    ) -> None:
        """`locate` looks for another profile or region; `move` keeps a region in which Kiro has answered."""
        self.client = client
        self.keeper = keeper
        self.models = models
        self.settings = settings
        self.turns = turns
        self.switch = switch
        self.locate = locate
        self.move = move
        self._set_aside = set_aside
        self.summaries = Summaries()
        self._calibration: dict[str, float] = {}
        self._addresses: dict[str, tuple[Access, str | None, Address]] = {}
        self._without_fields: dict[str, float] = {}

    def choose(self, reach: Reach | None = None) -> Account:
        """Whose turn it would be, without taking a place."""
        return self.turns.look(Ask() if reach is None else reach.ask())

    def learn(
        self, account: Account, error: KiroError | None, *, model: Model | None = None, began: float | None = None
    ) -> Outcome | None:
        """What the outcome of a request that began at `began` (wall-clock seconds) costs the account."""
        outcome = self.turns.learn(account, error, model=model.id if model is not None else None, began=began)
        if isinstance(outcome, SetAside):
            self._set_aside(account, outcome)
        return outcome

    def takes_fields(self, model: Model) -> bool:
        """False for a while after Kiro answered this model only when its additional fields were left out."""
        return self._without_fields.get(model.id, 0.0) <= time.monotonic()

    def leave_out_fields(self, model: Model) -> None:
        self._without_fields[model.id] = time.monotonic() + _FIELDS_LEFT_OUT_S

    def address(self, access: Access, base_url: str | None) -> Address:
        """Where a conversation goes; made once per access token."""
        known = self._addresses.get(access.machine_id)
        if known is None or known[0] is not access or known[1] != base_url:
            known = (access, base_url, inference_address(access, base_url))
            self._addresses[access.machine_id] = known
        return new_call(known[2])

    def prompt_tokens(self, model: Model, estimate: int) -> int:
        """The estimate, corrected by what exact numbers have taught about this model."""
        return round(estimate * self._calibration.get(model.id, 1.0))

    def calibrate(self, model: Model, estimate: int, usage: Usage) -> None:
        if usage.source != "exact" or not estimate:
            return
        seen = min(max(usage.prompt / estimate, 0.3), 3.0)
        known = self._calibration.get(model.id)
        self._calibration[model.id] = seen if known is None else known + _CALIBRATION_STEP * (seen - known)

    async def search(self, query: str, reach: Reach | None = None) -> tuple[SearchHit, ...]:
        """A web search by Kiro's own tool, billed to the account whose turn it is. Raises KiroError."""
        account = self.choose(reach)
        access = await self.keeper.access(account.id)
        for last_try in (False, True):
            ask = queries.search_ask(access, self.settings().upstream.url, query)
            try:
                status, headers, body = await self.client.fetch(
                    ask.method, ask.url, ask.headers, ask.body, proxy=access.proxy
                )
                return queries.read_search(status, headers, body)
            except TokenRejected:
                if last_try:
                    raise
                access = await self.keeper.refresh_now(account.id, access.token)
            except _ABOUT_THE_ACCOUNT as error:
                self.learn(account, error)
                raise
        raise AssertionError("the second try returns or raises")

    async def count(self, conversation: Conversation) -> int:
        """Tokens of the prompt this conversation would make, estimated."""
        model, _ = self.models.resolve(conversation.model)
        conversation = await self.prepare(conversation, model)
        conversation_id, continuation_id = session_ids(conversation, model)
        request = build(
            conversation, model, conversation_id=conversation_id, continuation_id=continuation_id, origin="AI_EDITOR"
        )
        return self.prompt_tokens(model, request.estimate)

    async def prepare(self, conversation: Conversation, model: Model) -> Conversation:
        """Fetches what is linked and brings pictures and documents into the form Kiro takes."""
        if not media.needs_work(conversation):
            return conversation
        fetched = await fetch_all(media.links(conversation))
        return await asyncio.to_thread(media.prepare, conversation, model, fetched)
