"""Web search on the client's behalf, by Kiro's own search tool.

The model gets a function `web_search`. Its calls are not shown as tool calls; the search is made here,
shown as a search with its hits, and the hits go back to the model in the next round, until it
answers or may search no more. Claude Code's side query (search as the only, forced tool) needs no
model at all: the query stands in the prompt.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from kiro.conversation.counting import estimate_text
from kiro.conversation.events import (
    Event,
    Finish,
    RedactedThinkingBlock,
    SearchCall,
    SearchHit,
    SearchResult,
    Start,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)
from kiro.conversation.messages import (
    AnyTool,
    AutoChoice,
    Conversation,
    Message,
    NoTools,
    Part,
    RedactedThinking,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    WebSearch,
)
from kiro.errors import KiroError
from kiro.relay.rounds import MAX_ROUNDS, Next, Plan

_SIDE_QUERY: Final = "Perform a web search for the query:"
_SCHEMA: Final = msgspec.Raw(
    b'{"type":"object","properties":{"query":{"type":"string","description":"What to search for"}},"required":["query"]}'
)
_DESCRIPTION: Final = "Search the web. Returns titles, addresses and excerpts of the pages found."
_MOST_SEARCHES: Final = MAX_ROUNDS - 2
"""One round is for the answer, one for a second try at it."""

Search = Callable[[str], Awaitable[tuple[SearchHit, ...]]]


class _Query(msgspec.Struct):
    query: str = ""


def side_query(conversation: Conversation) -> str | None:
    """The query of a request that is nothing but a search; None for every other request."""
    wish = conversation.web_search
    choice = conversation.tool_choice
    if wish is None or conversation.tools or not isinstance(choice, AnyTool) or choice.names != (wish.name,):
        return None
    last = conversation.messages[-1]
    said = "".join(part.text for part in last.parts if isinstance(part, Text))
    return said.split(_SIDE_QUERY, 1)[1].strip() if _SIDE_QUERY in said else None


def with_function(conversation: Conversation) -> Conversation:
    """The conversation with the search as a function the model can call."""
    wish = conversation.web_search
    assert wish is not None  # noqa: S101  callers ask for it
    tool = Tool(wish.name, _DESCRIPTION, _SCHEMA)
    others = tuple(tool for tool in conversation.tools if tool.name != wish.name)
    return msgspec.structs.replace(conversation, tools=(*others, tool), web_search=None)


class SearchPlan:
    """Holds back the calls of the search function and answers them. `search` finds hits for a query."""

    def __init__(self, conversation: Conversation, wish: WebSearch, search: Search) -> None:
        self._conversation = conversation
        self._wish = wish
        self._search = search
        self._made = 0
        self._said: list[str] = []
        self._thought: list[str] = []
        self._thinking: list[Part] = []
        self._calls: list[tuple[ToolCallStart, list[str]]] = []
        self._inside = False
        self._others_called = False

    def see(self, events: Sequence[Event]) -> list[Event]:
        shown: list[Event] = []
        for event in events:
            if type(event) is TextDelta:
                self._said.append(event.text)
                shown.append(event)
            elif isinstance(event, ToolCallStart) and event.name == self._wish.name:
                self._inside = True
                self._calls.append((event, []))
            elif self._inside and isinstance(event, ToolCallDelta):
                self._calls[-1][1].append(event.fragment)
            elif self._inside and isinstance(event, ToolCallEnd):
                self._inside = False
            else:
                self._remember(event)
                self._others_called = self._others_called or isinstance(event, ToolCallStart)
                shown.append(event)
        return shown

    def _remember(self, event: Event) -> None:
        """What the next round has to know of this one beside what was said: the thinking, with its signature."""
        match event:
            case ThinkingDelta(text=text):
                self._thought.append(text)
            case ThinkingEnd(signature=signature):
                self._thinking.append(Thinking("".join(self._thought), signature))
                self._thought = []
            case RedactedThinkingBlock(data=data):
                self._thinking.append(RedactedThinking(data))
            case _:
                pass

    async def after(self, finish: Finish) -> Next:
        if not self._calls:
            return Next((), finish)
        events: list[Event] = []
        parts = [*self._thinking, *([Text("".join(self._said))] if self._said else [])]
        results: list[Part] = []
        searches = 0
        for call, fragments in self._calls:
            text = "".join(fragments) or "{}"
            shown, answer = await self._answer(_query_of(text))
            searches += isinstance(shown[1], SearchResult) and shown[1].error is None
            events += shown
            parts.append(ToolCall(call.id, call.name, msgspec.Raw(text.encode())))
            results.append(ToolResult(call.id, (Text(answer),), is_error=shown[1].error is not None))
        usage = msgspec.structs.replace(finish.usage, searches=searches)
        self._calls, self._said, self._thinking = [], [], []
        if self._others_called:
            # The client has calls of its own to answer; the hits come back to us in its history.
            return Next(tuple(events), msgspec.structs.replace(finish, usage=usage))
        reason = "end_turn" if finish.reason == "tool_use" else finish.reason
        self._conversation = self._continued(parts, results)
        return Next(tuple(events), Finish(reason, usage), self._conversation)

    async def _answer(self, query: str) -> tuple[tuple[SearchCall, SearchResult], str]:
        """The search as the client sees it, and as the model reads it."""
        call = SearchCall(f"srvtoolu_{secrets.token_hex(12)}", query)
        if self._made >= (self._wish.max_uses or _MOST_SEARCHES):
            return (
                call,
                SearchResult(call.id, error="max_uses_exceeded"),
            ), "No more searches are allowed. Answer with what you have."
        self._made += 1
        try:
            hits = within(await self._search(query), self._wish)
        except KiroError as error:
            return (call, SearchResult(call.id, error="unavailable")), f"The search failed: {error.message}"
        return (call, SearchResult(call.id, hits)), described(hits)

    def go_on_with(self, conversation: Conversation) -> None:
        """The answer was not as it has to be; the next round asks for it again."""
        self._conversation = conversation
        self._said, self._thought, self._thinking = [], [], []

    def _continued(self, parts: list[Part], results: list[Part]) -> Conversation:
        """The next round. A search that was forced was made: from then on the model is free.

        With no other tool, and when searches are used up, it has to answer.
        """
        choice = self._conversation.tool_choice
        forced = isinstance(choice, AnyTool) and (not choice.names or self._wish.name in choice.names)
        used_up = self._made >= (self._wish.max_uses or _MOST_SEARCHES)
        conversation = msgspec.structs.replace(
            self._conversation,
            messages=(
                *self._conversation.messages,
                Message("assistant", tuple(parts)),
                Message("user", tuple(results)),
            ),
        )
        if (forced or used_up) and len(self._conversation.tools) == 1:
            return msgspec.structs.replace(conversation, tool_choice=NoTools())
        return msgspec.structs.replace(conversation, tool_choice=AutoChoice()) if forced else conversation


class Verifying(Plan, Protocol):
    """A plan for what the answer has to be, which another plan may keep waiting."""

    def go_on_with(self, conversation: Conversation) -> None: ...


class VerifiedSearchPlan:
    """Searches first, and then an answer that has to be so."""

    def __init__(self, search: SearchPlan, wanted: Verifying) -> None:
        self._search = search
        self._wanted = wanted

    def see(self, events: Sequence[Event]) -> list[Event]:
        return self._wanted.see(self._search.see(events))

    async def after(self, finish: Finish) -> Next:
        searched = await self._search.after(finish)
        if searched.ask is not None:
            self._wanted.go_on_with(searched.ask)
            return searched
        answered = await self._wanted.after(searched.finish)
        if answered.ask is not None:
            self._search.go_on_with(answered.ask)
        return Next((*searched.events, *answered.events), answered.finish, answered.ask)


async def searched(query: str, wish: WebSearch, search: Search, *, input_tokens: int) -> list[Event]:
    """The events of a whole answer that is a search and its hits, without a model."""
    call = SearchCall(f"srvtoolu_{secrets.token_hex(12)}", query)
    try:
        hits = within(await search(query), wish)
    except KiroError as error:
        result, text, made = SearchResult(call.id, error="unavailable"), f"The search failed: {error.message}", 0
    else:
        result, text, made = SearchResult(call.id, hits), described(hits), 1
    usage = Usage(input=input_tokens, output=estimate_text(text), searches=made)
    return [Start(None, input_tokens), call, result, TextDelta(text), Finish("end_turn", usage)]


def within(hits: Sequence[SearchHit], wish: WebSearch) -> tuple[SearchHit, ...]:
    """The hits that the client's lists of domains let through."""
    return tuple(
        hit
        for hit in hits
        if (not wish.allowed_domains or _is_of(hit.url, wish.allowed_domains))
        and not _is_of(hit.url, wish.blocked_domains)
    )


def described(hits: Sequence[SearchHit]) -> str:
    """Hits as text: for the model, and for clients that show text only."""
    if not hits:
        return "The search found nothing."
    return "\n\n".join(
        f"{number}. {hit.title}\n{hit.url}" + (f"\n{hit.snippet}" if hit.snippet else "")
        for number, hit in enumerate(hits, 1)
    )


def _is_of(url: str, domains: Sequence[str]) -> bool:
    host = (urlsplit(url).hostname or "").lower()
    return any(host == domain.lower() or host.endswith(f".{domain.lower()}") for domain in domains)


def _query_of(arguments: str) -> str:
    try:
        return msgspec.json.decode(arguments, type=_Query).query
    except (msgspec.DecodeError, UnicodeEncodeError):
        return arguments
