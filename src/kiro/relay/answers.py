"""Which kind of answer a conversation needs: straight through, verified, or with searches in between."""

import time
from typing import Protocol

from kiro.accounts.account import Account
from kiro.accounts.pool import Reach
from kiro.conversation.counting import estimate_conversation
from kiro.conversation.events import Event, Finish, SearchHit, Usage
from kiro.conversation.messages import AnyTool, Conversation
from kiro.relay.answering import Answering, Sink
from kiro.relay.fitting import OnOverflow
from kiro.relay.relay import Relay
from kiro.relay.rounds import RoundsAnswer
from kiro.relay.search import SearchPlan, VerifiedSearchPlan, Verifying, searched, side_query, with_function
from kiro.relay.trying import Attempt
from kiro.relay.verify import ForcedToolPlan, JsonPlan


class Underway(Protocol):
    """An answer under way, of whichever kind: `begin`, then `deliver` unless `finish` is there; `close` in any case."""

    @property
    def finish(self) -> Finish | None: ...

    @property
    def attempts(self) -> list[Attempt]: ...

    @property
    def notes(self) -> list[str]: ...

    @property
    def account(self) -> Account | None: ...

    @property
    def used_model(self) -> str | None: ...

    @property
    def first_event_at(self) -> float | None: ...

    @property
    def trimmed(self) -> int: ...

    async def begin(self) -> list[Event]: ...

    async def deliver(self, sink: Sink) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None: ...

    def usage(self) -> Usage: ...


def answer(
    relay: Relay,
    conversation: Conversation,
    *,
    reach: Reach | None = None,
    on_overflow: OnOverflow = "error",
) -> Underway:
    """An answer to this conversation by an account within `reach`. `on_overflow` is for one that is too long."""

    def open_round(asked: Conversation) -> Answering:
        return Answering(relay, asked, reach, on_overflow)

    async def search(query: str) -> tuple[SearchHit, ...]:
        return await relay.search(query, reach)

    wish, wanted = conversation.web_search, _wanted(conversation)
    if wish is None:
        return open_round(conversation) if wanted is None else RoundsAnswer(open_round, conversation, wanted)
    query = side_query(conversation)
    if query is not None:
        return SearchedAnswer(relay, conversation, query, reach)
    asked = with_function(conversation)
    searching = SearchPlan(asked, wish, search)
    if wanted is None:
        return RoundsAnswer(open_round, asked, searching)
    wanted.go_on_with(asked)
    return RoundsAnswer(open_round, asked, VerifiedSearchPlan(searching, wanted))


def _wanted(conversation: Conversation) -> Verifying | None:
    """What the answer has to be: a call of a tool that was named, or JSON. A search counts as some tool."""
    choice, search = conversation.tool_choice, conversation.web_search
    if isinstance(choice, AnyTool) and conversation.tools:
        searches = search is not None and (not choice.names or search.name in choice.names)
        if not searches:
            return ForcedToolPlan(conversation, choice)
    if conversation.output_format is not None:
        return JsonPlan(conversation, conversation.output_format)
    return None


class SearchedAnswer:
    """An answer that is only a web search: no model is asked."""

    def __init__(self, relay: Relay, conversation: Conversation, query: str, reach: Reach | None) -> None:
        self._relay = relay
        self._conversation = conversation
        self._query = query
        self._reach = reach
        self.finish: Finish | None = None
        self.attempts: list[Attempt] = []
        self.notes: list[str] = ["answered by a web search, without a model"]
        self.account: Account | None = None
        self.used_model: str | None = None
        self.first_event_at: float | None = None
        self.trimmed = 0

    async def begin(self) -> list[Event]:
        wish = self._conversation.web_search
        assert wish is not None  # noqa: S101  it is why this class was chosen
        self.account = self._relay.choose(self._reach)

        async def search(query: str) -> tuple[SearchHit, ...]:
            return await self._relay.search(query, self._reach)

        tokens = estimate_conversation(self._conversation)
        events = await searched(self._query, wish, search, input_tokens=tokens)
        self.first_event_at = time.perf_counter()
        if isinstance(events[-1], Finish):
            self.finish = events[-1]
        return events

    async def deliver(self, sink: Sink) -> None:
        """Everything came with `begin`."""

    def pause(self) -> None:
        """Nothing flows."""

    def resume(self) -> None:
        """Nothing flows."""

    def close(self) -> None:
        """Nothing is open."""

    def usage(self) -> Usage:
        return self.finish.usage if self.finish is not None else Usage()
