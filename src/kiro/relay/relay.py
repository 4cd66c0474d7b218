"""Choose, sign, send, read, fail over: one conversation in, one stream of events out.

`Relay.answer` makes an `Answering`. Its `begin` returns when the first event worth showing is there;
until then every failure that another try can mend stays unseen (`relay.retry` decides). `deliver`
hands the events to a sink, in batches of what one network read brought, called straight from the
network callback: no task wakes up per event. After text has been shown a cut answer is continued
once, by giving the text so far back as the assistant's unfinished turn; an answer that has begun a
tool call is not, because a call might then be made twice.

Whatever goes wrong, an answer either ends with `Finish` or raises. There is no third way.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from kiro.accounts.access import AccessKeeper
from kiro.accounts.account import Account
from kiro.accounts.health import Health, Outcome, SetAside, SwitchFlavour
from kiro.accounts.locating import Found
from kiro.accounts.pool import Ask
from kiro.accounts.turns import Turns
from kiro.conversation.collect import Collector
from kiro.conversation.events import (
    Event,
    Finish,
    SearchHit,
    Start,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    Usage,
)
from kiro.conversation.messages import Conversation, Message, Text
from kiro.errors import (
    AccountSuspended,
    ContextOverflow,
    EmptyAnswer,
    KiroError,
    NetworkFailed,
    QuotaExhausted,
    RateLimited,
    SignInNeeded,
    StreamCut,
    TokenRejected,
    UpstreamBroken,
    UpstreamError,
    UpstreamTimeout,
)
from kiro.relay.fitting import Fitting, OnOverflow, Summaries
from kiro.relay.limits import Limits
from kiro.relay.models import ModelShelf, with_model_tags
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
from kiro.storage.settings import Settings
from kiro.upstream import media, queries
from kiro.upstream.catalogue import Model
from kiro.upstream.client import KiroClient
from kiro.upstream.endpoints import ENDPOINTS, Access, Address, inference_address, new_call
from kiro.upstream.exchange import Exchange
from kiro.upstream.fetch import fetch_all
from kiro.upstream.request import KiroRequest, build, session_ids, with_profile
from kiro.upstream.response import ResponseReader
from kiro.upstream.thinking import family, without_thinking

_COMPACT_AT: Final = 64
_CALIBRATION_STEP: Final = 0.2
_FIELDS_LEFT_OUT_S: Final = 3600.0
_ABOUT_THE_ACCOUNT: Final = (AccountSuspended, QuotaExhausted, RateLimited)
"""What a refused web search tells about conversations, too: a plan may lack searches and nothing else."""
_MENDABLE_BY_CONTINUING: Final = (StreamCut, NetworkFailed, UpstreamBroken, UpstreamTimeout)

_UNREAD: Final = ResponseReader()
"""Stands in until the first try; never fed."""

Sink = Callable[[Sequence[Event]], None]


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


class Relay:
    """What all requests share: connections, accounts and their health, models, what estimates have taught."""

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
        self._summaries = Summaries()
        self._calibration: dict[str, float] = {}
        self._addresses: dict[str, tuple[Access, str | None, Address]] = {}
        self._without_fields: dict[str, float] = {}

    def answer(
        self,
        conversation: Conversation,
        *,
        only: str | None = None,
        allowed: frozenset[str] | None = None,
        on_overflow: OnOverflow = "error",
    ) -> "Answering":
        """An answer to this conversation. `only` pins an account by name or id; `allowed` are ids, None means all.

        `on_overflow` is for a conversation that is too long.
        """
        return Answering(self, conversation, only, allowed, on_overflow)

    def fitting(self, how: OnOverflow, only: str | None, allowed: frozenset[str] | None) -> Fitting:
        """What shortens a conversation that does not fit."""

        async def say(conversation: Conversation) -> str:
            answering = self.answer(conversation, only=only, allowed=allowed)
            collector = Collector()
            try:
                collector.add(await answering.begin())
                if answering.finish is None:
                    await answering.deliver(collector.add)
            finally:
                answering.close()
            return collector.answer().text()

        return Fitting(how, self._summaries, lambda: frozenset(self.models.known()), say)

    def choose(self, *, only: str | None = None, allowed: frozenset[str] | None = None) -> Account:
        """Whose turn it would be, without taking a place."""
        return self.turns.look(Ask(only=only, allowed=allowed))

    def health(self, account: Account) -> Health:
        return self.turns.health(account.id)

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

    async def search(
        self, query: str, *, only: str | None = None, allowed: frozenset[str] | None = None
    ) -> tuple[SearchHit, ...]:
        """A web search by Kiro's own tool, billed to the account whose turn it is. Raises KiroError."""
        account = self.choose(only=only, allowed=allowed)
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


class Answering:
    """One answer under way: `begin`, then `deliver`; `close` in any case."""

    def __init__(
        self,
        relay: Relay,
        conversation: Conversation,
        only: str | None,
        allowed: frozenset[str] | None,
        on_overflow: OnOverflow,
    ) -> None:
        self._relay = relay
        self._asked = conversation
        self._conversation = conversation
        self._only = only
        self._allowed = allowed
        self._on_overflow = on_overflow

        self.model: Model | None = None
        self.account: Account | None = None
        self.attempts: list[Attempt] = []
        self.notes: list[str] = []
        self.finish: Finish | None = None
        self.first_event_at: float | None = None
        self.trimmed = 0
        """How many old messages were left out because the conversation did not fit."""

        self._requests: dict[tuple[str, frozenset[str]], KiroRequest] = {}
        self._exchange: Exchange | None = None
        self._place: str | None = None
        """The account with which this answer has a place; given back as soon as an attempt is over."""
        self._ids = ("", "")
        """Ids of the conversation and of its continuation, for Kiro; the first also stands for a session without a name."""
        self._deadline = 0.0
        self._token: str | None = None
        """The access token of the attempt; None when it failed before Kiro was asked."""
        self._region: str | None = None
        """Where the account is tried, in place of where it is known to be answered."""
        self._reader: ResponseReader = _UNREAD
        self._estimate = 0
        self._agentic = False
        self._limits: Limits | None = None
        self._first: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[None] | None = None
        self._failure: KiroError | None = None
        self._waiting: list[Event] = []
        self._sink: Sink | None = None
        self._shown: list[Event] = []
        self._said = ""
        self._thinking_open = False
        self._spent: Usage | None = None
        """Usage of the part before a continuation; `None` when the answer is in one piece."""

    # -- for the caller

    async def begin(self) -> list[Event]:
        """The first events, one of which a client can see. Raises when no try got that far."""
        self.model, resolved = self._relay.models.resolve(self._asked.model)
        self._agentic = resolved.agentic
        self._conversation = with_model_tags(await self._relay.prepare(self._asked, self.model), resolved)
        limit = self._asked.max_tokens
        enforced = (
            limit if limit is not None and limit < self._relay.settings().relay.enforce_max_tokens_below else None
        )
        if self._asked.stop_sequences or enforced is not None:
            self._limits = Limits(self._asked.stop_sequences, enforced)
        self._ids = session_ids(self._conversation, self.model)
        try:
            await self._try_until_begun(frozenset())
        except ContextOverflow as overflow:
            if self._on_overflow == "error":
                raise
            await self._begin_shorter(overflow)
        first, self._waiting = self._waiting, []
        return first

    async def _begin_shorter(self, overflow: ContextOverflow) -> None:
        """With old messages left out; raises the overflow when that does not help."""
        whole, fitting = self._conversation, self._relay.fitting(self._on_overflow, self._only, self._allowed)
        while (shorter := await fitting.shorten(whole, overflow)) is not None:
            self._conversation, self.trimmed = shorter.conversation, shorter.removed
            self._requests.clear()
            try:
                await self._try_until_begun(frozenset())
            except ContextOverflow as again:
                overflow = again
            else:
                self.notes.append(shorter.note)
                return
        raise overflow

    async def deliver(self, sink: Sink) -> None:
        """Gives all further events to `sink`, up to Finish. Raises when the answer breaks; then there was no Finish."""
        while True:
            waiting, self._waiting = self._waiting, []
            if waiting:
                sink(waiting)
            self._sink = sink
            assert self._ended is not None  # noqa: S101  begin comes first
            await self._ended
            if self._failure is None:
                return
            if not self._may_continue():
                raise self._failure
            await self._continue()

    def pause(self) -> None:
        """Stop reading from Kiro: the client is slow."""
        if self._exchange is not None:
            self._exchange.pause()

    def resume(self) -> None:
        if self._exchange is not None:
            self._exchange.resume()

    def close(self) -> None:
        """Drop the connection to Kiro if it is still open; it stops generating then."""
        self._hang_up()
        self._leave()

    def _hang_up(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None

    def _leave(self) -> None:
        """Gives the place back, for whoever waits."""
        if self._place is not None:
            place, self._place = self._place, None
            self._relay.turns.leave(place, spent=self._credits() or 0.0)

    def _credits(self) -> float | None:
        return self.finish.usage.credits if self.finish is not None else None

    @property
    def used_model(self) -> str | None:
        """The model that answered: Kiro's word where it gave one, for `auto`."""
        return self._reader.model or (self.model.id if self.model is not None else None)

    def usage(self) -> Usage:
        """What the answer has cost so far, also when it never finished."""
        return self.finish.usage if self.finish is not None else _sum(self._spent, self._reader.usage())

    # -- trying

    async def _try_until_begun(self, failed: frozenset[str]) -> None:
        assert self.model is not None  # noqa: S101  begin settles it
        self._deadline = time.monotonic() + self._relay.settings().relay.max_seconds
        tries = Tries(total=len(self.attempts) + 1, dropped=self._known_refused(self.model), failed=failed)
        account: Account | None = None
        last: KiroError | None = None
        while True:
            if account is None:
                account, self._region = await self._claim(tries.failed, last), None
            began = time.time()
            try:
                await self._try(account, tries.dropped)
            except KiroError as error:
                last = error
                self._hang_up()
            else:
                if self._failure is None:  # otherwise it broke in the same moment, and that is learned already
                    self._relay.learn(account, None, model=self.model, began=began)
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
                self._leave()
                raise last
            if isinstance(step, NextAccount) or not self._relay.turns.serves(account.id):
                self._leave()
                tries, account = taken(NextAccount(), tries, account.id), None
            else:
                tries = taken(step, tries, account.id)

    def _known_refused(self, model: Model) -> frozenset[str]:
        """What this model is known to refuse, so that it is not sent in vain."""
        if self._relay.takes_fields(model):
            return frozenset()
        wish, note = self._conversation.thinking, f"sent without fields: {model.id} refused them a while ago"
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
        if time.monotonic() + (step.delay_s if isinstance(step, Repeat) else 0.0) >= self._deadline:
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
        return self._relay.learn(account, error, model=self.model, began=began)

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
        assert self.model is not None  # noqa: S101  begin settles it
        if "fields" in tries.dropped and self._relay.takes_fields(self.model):
            self._relay.leave_out_fields(self.model)
        if self._region is not None:
            self._relay.move(account, self._region)

    async def _claim(self, tried: frozenset[str], last: KiroError | None) -> Account:
        """A place with the account whose turn it is. With none left, the failure of the last one tells more."""
        assert self.model is not None  # noqa: S101  begin settles it
        turns = self._relay.turns
        session = self._conversation.session or self._ids[0]
        ask = Ask(self.model.id, session, self._only, tried, self._allowed)
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
            return await self._relay.turns.take(ask, patience_s=max(0.0, self._deadline - began))
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

    async def _try(self, account: Account, dropped: frozenset[str]) -> None:
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
            exchange = await self._send(access, dropped)
            attempt.status, attempt.upstream_id = 200, exchange.upstream_id
            exchange.listen(self._on_data, self._on_end)
            assert self._first is not None  # noqa: S101  _send made it
            await self._first
        except ContextOverflow as error:
            _note_failure(attempt, error)
            raise self._overflow() from error
        except KiroError as error:
            _note_failure(attempt, error)
            raise
        finally:
            attempt.duration_ms = (time.perf_counter() - started) * 1000

    def _overflow(self) -> ContextOverflow:
        """Kiro does not say by how much; clients that compact want numbers, so they get our estimate."""
        assert self.model is not None  # noqa: S101  begin settles it
        return ContextOverflow(self._relay.prompt_tokens(self.model, self._estimate), self.model.window)

    async def _send(self, access: Access, dropped: frozenset[str]) -> Exchange:
        assert self.model is not None  # noqa: S101  begin settles it
        request = self._request(access, dropped)
        settings = self._relay.settings()
        loop = asyncio.get_running_loop()
        self._estimate = request.estimate
        self._reader = ResponseReader(
            rename=request.names.back,
            unwrap=request.names.unwrap,
            family=family(self.model.id),
            tags=request.tags,
            prompt_tokens=self._relay.prompt_tokens(self.model, request.estimate),
            window=self.model.window,
        )
        self._first, self._ended, self._failure = loop.create_future(), loop.create_future(), None
        address = self._relay.address(access, settings.upstream.url)
        exchange = await self._relay.client.converse(
            address, with_profile(request.body, access.profile_arn), proxy=access.proxy, begin_by=self._deadline
        )
        self._exchange = exchange
        return exchange

    def _request(self, access: Access, dropped: frozenset[str]) -> KiroRequest:
        """The request in the account's flavour; made once, however many accounts are tried."""
        origin = ENDPOINTS[access.flavour].origin
        request = self._requests.get((origin, dropped))
        if request is None:
            assert self.model is not None  # noqa: S101  begin settles it
            conversation = without_thinking(self._conversation) if "thinking" in dropped else self._conversation
            model = (
                msgspec.structs.replace(self.model, efforts=(), thinking_types=())
                if "fields" in dropped
                else self.model
            )
            conversation_id, continuation_id = self._ids
            if "conversation id" in dropped:
                conversation_id, continuation_id = continuation_id, conversation_id
            request = build(
                conversation,
                model,
                conversation_id=conversation_id,
                continuation_id=continuation_id,
                origin=origin,
                agentic=self._agentic,
                flat_schemas="schema unions" in dropped,
            )
            self._requests[origin, dropped] = request
            self.notes += [note for note in request.notes if note not in self.notes]
        return request

    # -- continuing

    def _may_continue(self) -> bool:
        return (
            isinstance(self._failure, _MENDABLE_BY_CONTINUING)
            and self._relay.settings().relay.resume
            and self._spent is None
            and not self._reader.called
            and bool(self._text_so_far())
        )

    async def _continue(self) -> None:
        """Opens a second answer that goes on where this one broke. Raises the first failure if that fails too."""
        failure, self._sink = self._failure, None
        self._leave()
        said = self._text_so_far()
        if self._thinking_open:
            self._waiting.append(ThinkingEnd())
        self._spent = self._reader.usage()
        self.notes.append(f"continued after {len(said)} characters: {failure}")
        unfinished = Message("assistant", (Text(said),))
        self._conversation = msgspec.structs.replace(
            self._conversation, messages=(*self._conversation.messages, unfinished)
        )
        self._requests.clear()
        if self._limits is not None:
            self._limits.forget()
        broken = self.account.id if self.account is not None else ""
        try:
            try:
                await self._try_until_begun(frozenset({broken}))
            except KiroError:
                if self._only is None and len(self.attempts) > 1 and self.attempts[-1].account != broken:
                    await self._try_until_begun(frozenset())
                else:
                    raise
        except KiroError as error:
            self.notes.append(f"could not be continued: {error.message}")
            raise failure or error from error

    def _text_so_far(self) -> str:
        self._said += "".join([event.text for event in self._shown if type(event) is TextDelta])
        self._shown.clear()
        return self._said

    # -- called by the network

    def _on_data(self, chunk: bytes) -> None:
        reader = self._reader
        events = reader.feed(chunk)
        if events:
            self._take(events)
        if reader.failure is not None:
            self._hang_up()
            self._settle(reader.failure)

    def _on_end(self, error: KiroError | None) -> None:
        self._exchange = None
        reader = self._reader
        if error is None and reader.failure is None:
            events = reader.close()
            if reader.failure is None:
                if not reader.tail_seen:
                    error = StreamCut("Kiro's answer ended without its closing events.")
                elif reader.empty and self.first_event_at is None and _says_nothing(events):
                    error = EmptyAnswer("Kiro sent an empty answer.")
                else:
                    self._take(events)
        self._settle(error or reader.failure)

    def _take(self, events: list[Event]) -> None:
        if self._limits is not None:
            events = self._limits.feed(events, self._reader.usage())
            if self._limits.stopped:
                self._hang_up()
        if self._spent is not None:
            events = [event for event in events if type(event) is not Start]
        if events and type(events[-1]) is Finish:
            events[-1] = self._finished(events[-1])
        shown = self._shown
        shown += events
        if len(shown) > _COMPACT_AT:
            self._text_so_far()
        if events:
            self._thinking_open = type(events[-1]) is ThinkingDelta
        if self._sink is not None:
            self._sink(events)
        else:
            self._waiting += events
            if self._first is not None and not self._first.done() and events and type(events[-1]) is not Start:
                if self.first_event_at is None:
                    self.first_event_at = time.perf_counter()
                self._begun()
        if self._limits is not None and self._limits.stopped:
            self._settle(None)

    def _begun(self) -> None:
        assert self._first is not None  # noqa: S101  its caller has looked
        self._first.set_result(None)
        if self._exchange is not None:
            self._exchange.begin_by = None

    def _finished(self, finish: Finish) -> Finish:
        finish = msgspec.structs.replace(finish, usage=_sum(self._spent, finish.usage))
        self.finish = finish
        return finish

    def _settle(self, failure: KiroError | None) -> None:
        """The attempt is over: wakes whoever waits for its beginning or its end."""
        self._failure = failure
        if failure is None and self.account is not None and self.model is not None:
            if self.finish is not None and self._spent is None:
                self._relay.calibrate(self.model, self._estimate, self.finish.usage)
        elif failure is not None and self.account is not None and self.attempts:
            _note_failure(self.attempts[-1], failure)
            if self._first is None or self._first.done():
                self._learn(self.account, failure, Tries(), self.attempts[-1].started_at)
        if failure is None or self._first is None or self._first.done():
            self._leave()
        if self._first is not None and not self._first.done():
            if failure is not None:
                self._first.set_exception(failure)
                return
            self._first.set_result(None)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


def _says_nothing(events: Sequence[Event]) -> bool:
    return not events or (isinstance(events[-1], Finish) and events[-1].reason == "end_turn")


def _note_failure(attempt: Attempt, error: KiroError) -> None:
    attempt.error = type(error).__name__
    attempt.message = error.message
    if isinstance(error, UpstreamError):
        attempt.status = error.upstream_status or attempt.status
        attempt.reason = error.reason
        attempt.upstream_id = error.upstream_id or attempt.upstream_id


def _sum(before: Usage | None, now: Usage) -> Usage:
    """Usage of a continued answer. Both parts cost credits; tokens are told as if it had come in one piece.

    Clients measure how full the window is by these numbers, and the first part stands in the prompt of the second.
    """
    if before is None:
        return now
    return Usage(
        input=max(0, now.input - before.output),
        output=now.output + before.output,
        cache_read=now.cache_read,
        cache_write=now.cache_write,
        thinking=now.thinking + before.thinking,
        credits=None if now.credits is None and before.credits is None else (now.credits or 0) + (before.credits or 0),
        context_percentage=now.context_percentage,
        source=now.source,
    )
