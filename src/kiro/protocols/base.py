"""The interface every client dialect fills; the server knows dialects only through it.

A dialect is a folder with `request.py` (JSON → Ask) and `response.py` (events → bytes, Answer → JSON,
errors → JSON) and one row in `PROTOCOLS`. Everything here is pure and synchronous.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol as TypingProtocol

import msgspec

from kiro.conversation.collect import Answer
from kiro.conversation.events import Event
from kiro.conversation.messages import Conversation
from kiro.errors import KiroError


class Ask(msgspec.Struct, frozen=True):
    """What a client asks: the conversation, whether it wants a stream, and what was left out (`notes`, for the log)."""

    conversation: Conversation
    stream: bool
    notes: tuple[str, ...] = ()

    @property
    def may_trim(self) -> bool:
        """Whether the client itself allows old turns to be left out of a prompt that is too long."""
        return False


class ErrorReply(msgspec.Struct, frozen=True):
    """An error in the dialect's own words, before any byte of an answer."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


class ModelCard(msgspec.Struct, frozen=True):
    """One model as the lists show it. `created` is a date, `YYYY-MM-DD`."""

    id: str
    name: str
    window: int
    max_output: int
    created: str = "2025-01-01"
    images: bool = True
    thinking: bool = False


class Renderer(TypingProtocol):
    """Turns the events of one answer into the bytes of one stream."""

    content_type: str

    def feed(self, events: Sequence[Event]) -> bytes:
        """The bytes of these events; may be empty."""
        ...

    def keepalive(self) -> bytes:
        """Bytes that mean nothing, to be sent between events."""
        ...

    def failure(self, error: KiroError) -> bytes:
        """The dialect's error inside a stream. The connection is aborted after it."""
        ...


class Protocol(TypingProtocol):
    """One dialect: a module with these functions."""

    name: str

    def parse(self, body: bytes, headers: Mapping[str, str], path: Mapping[str, str]) -> Ask:
        """The request. `path` is what the route matched (`model`, `verb`) and `alt` of the query."""
        ...

    def parse_count(self, body: bytes, headers: Mapping[str, str], path: Mapping[str, str]) -> Ask:
        """The same for token counting, where limits and the like may be missing."""
        ...

    def renderer(self, ask: Ask, answer_id: str) -> Renderer: ...

    def answer(self, ask: Ask, answer: Answer, answer_id: str) -> bytes: ...

    def error(self, error: KiroError, request_id: str) -> ErrorReply: ...

    def models(self, cards: Sequence[ModelCard]) -> bytes: ...

    def model(self, card: ModelCard) -> bytes: ...

    def count(self, tokens: int) -> bytes: ...


def retry_headers(error: KiroError, status: int) -> dict[str, str]:
    """`retry-after` in whole seconds for every 429 and whenever a delay is known; `x-should-retry: false` where it is futile.

    A 429 without `retry-after` is fatal to Codex, so there is always one.
    """
    delay = getattr(error, "retry_after_s", None)
    headers: dict[str, str] = {}
    if delay is not None or status == 429:
        headers["retry-after"] = str(max(1, math.ceil(delay if delay is not None else 10)))
    if getattr(error, "suspicious", False) or getattr(error, "period", None):
        headers["x-should-retry"] = "false"
    return headers
