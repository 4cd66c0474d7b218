"""An answer made of several rounds: what Kiro says first decides what it is asked next, unseen by the client.

Web search and verified answers need this. A `Plan` sees the events of each round before the client
does; it may hold some back, add others, and ask for another round with a longer conversation. To
the server a `RoundsAnswer` looks like any other answer: `begin`, `deliver`, `close`, and a Finish
whose usage covers all rounds, because all were paid for.

Rounds run in a task of their own. That costs a wake-up per batch, which only these answers pay.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from kiro.accounts.account import Account
from kiro.conversation.events import Event, Finish, Start, Usage
from kiro.conversation.messages import Conversation
from kiro.relay.answering import Answering, Sink
from kiro.relay.trying import Attempt

MAX_ROUNDS: Final = 7


class Plan(Protocol):
    """What happens between Kiro and the client, over all rounds of one answer."""

    def see(self, events: Sequence[Event]) -> list[Event]:
        """What the client gets of these events now. Start and Finish are never among them."""
        ...

    async def after(self, finish: Finish) -> "Next":
        """The round is over: what the client gets now, and the conversation of the next round, if there is one."""
        ...


class Next(msgspec.Struct, frozen=True):
    """`ask` None ends the answer with `finish`."""

    events: tuple[Event, ...]
    finish: Finish
    ask: Conversation | None = None


Open = Callable[[Conversation], Answering]


class RoundsAnswer:
    """Same use as `Answering`."""

    def __init__(self, open_round: Open, conversation: Conversation, plan: Plan) -> None:
        self._open = open_round
        self._conversation = conversation
        self._plan = plan
        self._rounds: list[Answering] = []
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[Event] = []
        self._sink: Sink | None = None
        self._first = asyncio.get_running_loop().create_future()
        self._started = False
        self.finish: Finish | None = None

    @property
    def attempts(self) -> list[Attempt]:
        return [attempt for one in self._rounds for attempt in one.attempts]

    @property
    def notes(self) -> list[str]:
        notes = [note for one in self._rounds for note in one.notes]
        made = self.usage().searches
        return [*notes, f"searched the web {made} time{'s' if made > 1 else ''}"] if made else notes

    @property
    def account(self) -> Account | None:
        return self._rounds[-1].account if self._rounds else None

    @property
    def used_model(self) -> str | None:
        return self._rounds[-1].used_model if self._rounds else None

    @property
    def first_event_at(self) -> float | None:
        return self._rounds[0].first_event_at if self._rounds else None

    @property
    def trimmed(self) -> int:
        return max((one.trimmed for one in self._rounds), default=0)

    def usage(self) -> Usage:
        if self.finish is not None:
            return self.finish.usage
        return total([one.usage() for one in self._rounds])

    async def begin(self) -> list[Event]:
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)
        await self._first
        first, self._waiting = self._waiting, []
        return first

    async def deliver(self, sink: Sink) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            sink(waiting)
        self._sink = sink
        assert self._task is not None  # noqa: S101  begin comes first
        await self._task

    def pause(self) -> None:
        if self._rounds:
            self._rounds[-1].pause()

    def resume(self) -> None:
        if self._rounds:
            self._rounds[-1].resume()

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        for one in self._rounds:
            one.close()

    async def _run(self) -> None:
        conversation: Conversation | None = self._conversation
        usage: list[Usage] = []
        while conversation is not None:
            answering = self._open(conversation)
            self._rounds.append(answering)
            self._take(await answering.begin())
            if answering.finish is None:
                await answering.deliver(self._take)
            assert answering.finish is not None  # noqa: S101  deliver raises otherwise
            following = await self._plan.after(answering.finish)
            usage.append(following.finish.usage)
            self._give(following.events)
            conversation = following.ask if len(self._rounds) < MAX_ROUNDS else None
        self.finish = msgspec.structs.replace(following.finish, usage=total(usage))
        self._give([self.finish])

    def _take(self, events: Sequence[Event]) -> None:
        if events and type(events[0]) is Start:
            if not self._started:
                self._started = True
                self._waiting.append(events[0])
            events = events[1:]
        if events and type(events[-1]) is Finish:
            events = events[:-1]
        if events:
            self._give(self._plan.see(events))

    def _give(self, events: Sequence[Event]) -> None:
        if not events:
            return
        if self._sink is not None:
            self._sink(events)
            return
        self._waiting += events
        if not self._first.done():
            self._first.set_result(None)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if self._first.done():
            return
        if task.cancelled():
            self._first.cancel()
        elif (error := task.exception()) is not None:
            self._first.set_exception(error)


def total(parts: Sequence[Usage]) -> Usage:
    """The sum; the last part tells where the numbers come from and how full the window is."""
    if not parts:
        return Usage()
    last = parts[-1]
    paid = [part.credits for part in parts if part.credits is not None]
    return msgspec.structs.replace(
        last,
        input=sum(part.input for part in parts),
        output=sum(part.output for part in parts),
        cache_read=sum(part.cache_read for part in parts),
        cache_write=sum(part.cache_write for part in parts),
        thinking=sum(part.thinking for part in parts),
        searches=sum(part.searches for part in parts),
        credits=sum(paid) if paid else None,
    )
