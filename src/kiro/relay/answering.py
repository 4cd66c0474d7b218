"""One conversation in, one stream of events out.

`begin` returns when the first event worth showing is there; until then every failure that another try
can mend stays unseen (`trying`). `deliver` hands the events to a sink, in batches of what one network
read brought, called straight from the network callback: no task wakes up per event. After text has been
shown a cut answer is continued once, by giving the text so far back as the assistant's unfinished turn;
an answer that has begun a tool call is not, because a call might then be made twice.

Whatever goes wrong, an answer either ends with `Finish` or raises. There is no third way.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from kiro.accounts.account import Account
from kiro.accounts.pool import Reach
from kiro.conversation.collect import Collector
from kiro.conversation.events import Event, Finish, Start, TextDelta, ThinkingDelta, ThinkingEnd, Usage
from kiro.conversation.messages import Conversation, Message, Text
from kiro.errors import (
    ContextOverflow,
    EmptyAnswer,
    KiroError,
    NetworkFailed,
    StreamCut,
    UpstreamBroken,
    UpstreamTimeout,
)
from kiro.relay.fitting import Fitting, OnOverflow
from kiro.relay.limits import Limits
from kiro.relay.models import with_model_tags
from kiro.relay.relay import Relay
from kiro.relay.requests import Requests
from kiro.relay.trying import Attempt, Trying
from kiro.upstream.endpoints import Access
from kiro.upstream.exchange import Exchange
from kiro.upstream.request import session_ids, with_profile
from kiro.upstream.response import ResponseReader
from kiro.upstream.thinking import family

_COMPACT_AT: Final = 64
_MENDABLE_BY_CONTINUING: Final = (StreamCut, NetworkFailed, UpstreamBroken, UpstreamTimeout)

_UNREAD: Final = ResponseReader()
"""Stands in until the first try; never fed."""

Sink = Callable[[Sequence[Event]], None]


class Answering:
    """One answer under way: `begin`, then `deliver`; `close` in any case. Raises what `begin` raises for an unknown model.

    `reach` says which accounts may be asked, `on_overflow` what happens to a conversation that is too long.
    """

    def __init__(
        self, relay: Relay, conversation: Conversation, reach: Reach | None = None, on_overflow: OnOverflow = "error"
    ) -> None:
        self._relay = relay
        self._asked = conversation
        self._conversation = conversation
        self._reach = reach or Reach()
        self._on_overflow = on_overflow

        self.model, self._resolved = relay.models.resolve(conversation.model)
        self.finish: Finish | None = None
        self.first_event_at: float | None = None
        self.trimmed = 0
        """How many old messages were left out because the conversation did not fit."""

        self._trying = Trying(relay, self.model, self._reach)
        self._requests: Requests | None = None
        self._session = ""
        self._exchange: Exchange | None = None
        self._reader: ResponseReader = _UNREAD
        self._estimate = 0
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

    # -- for the log

    @property
    def account(self) -> Account | None:
        return self._trying.account

    @property
    def attempts(self) -> list[Attempt]:
        return self._trying.attempts

    @property
    def notes(self) -> list[str]:
        return self._trying.notes

    @property
    def used_model(self) -> str:
        """The model that answered: Kiro's word where it gave one, for `auto`."""
        return self._reader.model or self.model.id

    def usage(self) -> Usage:
        """What the answer has cost so far, also when it never finished."""
        return self.finish.usage if self.finish is not None else _sum(self._spent, self._reader.usage())

    # -- for the caller

    async def begin(self) -> list[Event]:
        """The first events, one of which a client can see. Raises when no try got that far."""
        conversation = await self._relay.prepare(self._asked, self.model)
        limit, least = self._asked.max_tokens, self._relay.settings().relay.enforce_max_tokens_below
        enforced = limit if limit is not None and limit < least else None
        if self._asked.stop_sequences or enforced is not None:
            self._limits = Limits(self._asked.stop_sequences, enforced)
        self._ask_for(with_model_tags(conversation, self._resolved))
        try:
            await self._until_begun()
        except ContextOverflow as overflow:
            if self._on_overflow == "error":
                raise
            await self._begin_shorter(overflow)
        first, self._waiting = self._waiting, []
        return first

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
        self._sink = None  # it leads back here: without it a conversation would stay until the next collection

    def _hang_up(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None

    def _leave(self) -> None:
        self._trying.leave(spent=(self.finish.usage.credits if self.finish is not None else None) or 0.0)

    # -- asking

    def _ask_for(self, conversation: Conversation) -> None:
        """What is asked from now on. The ids stay those of the session when the conversation was shortened or goes on."""
        ids = session_ids(conversation, self.model)
        self._conversation = conversation
        self._session = conversation.session or ids[0]
        self._requests = Requests(conversation, self.model, ids, agentic=self._resolved.agentic, notes=self.notes)

    async def _until_begun(self, failed: frozenset[str] = frozenset()) -> None:
        await self._trying.until_begun(self._begin_once, self._conversation, self._session, failed)

    async def _begin_once(self, access: Access, dropped: frozenset[str], attempt: Attempt) -> bool:
        try:
            exchange = await self._send(access, dropped)
            attempt.status, attempt.upstream_id = 200, exchange.upstream_id
            exchange.listen(self._on_data, self._on_end)
            assert self._first is not None  # noqa: S101  _send made it
            await self._first
        except KiroError as error:
            self._hang_up()
            if not isinstance(error, ContextOverflow):
                raise
            # Kiro does not say by how much; clients that compact want numbers, so they get our estimate.
            tokens = self._relay.prompt_tokens(self.model, self._estimate)
            raise ContextOverflow(tokens, self.model.window) from error
        return self._failure is None

    async def _send(self, access: Access, dropped: frozenset[str]) -> Exchange:
        assert self._requests is not None  # noqa: S101  begin makes them
        relay, model = self._relay, self.model
        request = self._requests.form(access.flavour, dropped)
        self._estimate = request.estimate
        self._reader = ResponseReader(
            rename=request.names.back,
            unwrap=request.names.unwrap,
            family=family(model.id),
            tags=request.tags,
            prompt_tokens=relay.prompt_tokens(model, request.estimate),
            window=model.window,
        )
        loop = asyncio.get_running_loop()
        self._first, self._ended, self._failure = loop.create_future(), loop.create_future(), None
        address = relay.address(access, relay.settings().upstream.url)
        self._exchange = exchange = await relay.client.converse(
            address,
            with_profile(request.body, access.profile_arn),
            proxy=access.proxy,
            begin_by=self._trying.deadline,
        )
        return exchange

    async def _begin_shorter(self, overflow: ContextOverflow) -> None:
        """With old messages left out; raises the overflow when that does not help."""
        whole, relay = self._conversation, self._relay
        fitting = Fitting(self._on_overflow, relay.summaries, lambda: frozenset(relay.models.known()), self._say)
        while (shorter := await fitting.shorten(whole, overflow)) is not None:
            self.trimmed = shorter.removed
            self._ask_for(shorter.conversation)
            try:
                await self._until_begun()
            except ContextOverflow as again:
                overflow = again
            else:
                self.notes.append(shorter.note)
                return
        raise overflow

    async def _say(self, conversation: Conversation) -> str:
        """The text of another answer, asked in between."""
        answering, collector = Answering(self._relay, conversation, self._reach), Collector()
        try:
            collector.add(await answering.begin())
            if answering.finish is None:
                await answering.deliver(collector.add)
        finally:
            answering.close()
        return collector.answer().text()

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
        self._ask_for(msgspec.structs.replace(self._conversation, messages=(*self._conversation.messages, unfinished)))
        if self._limits is not None:
            self._limits.forget()
        broken = self.account.id if self.account is not None else ""
        try:
            try:
                await self._until_begun(frozenset({broken}))
            except KiroError:
                if self._reach.only is None and len(self.attempts) > 1 and self.attempts[-1].account != broken:
                    await self._until_begun()
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
            events = self._limits.feed(events, self._reader.usage)
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
        begun = self._first is None or self._first.done()
        if failure is not None:
            self._trying.broke(failure, begun=begun)
        elif self.finish is not None and self._spent is None:
            self._relay.calibrate(self.model, self._estimate, self.finish.usage)
        if failure is None or begun:
            self._leave()
        if self._first is not None and not begun:
            if failure is not None:
                self._first.set_exception(failure)
                return
            self._first.set_result(None)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


def _says_nothing(events: Sequence[Event]) -> bool:
    return not events or (isinstance(events[-1], Finish) and events[-1].reason == "end_turn")


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
