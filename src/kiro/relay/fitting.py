"""Conversations that do not fit the model's window, shortened for clients that cannot do it themselves.

Kiro only says that a prompt is too long. Our estimate says by how much, so the first try aims at four
fifths of the window, and each further one lower. `summarise` asks a small model what the parts said that
go, and puts its answer in their place; where that fails they are trimmed. Summaries are kept: the next
turns of the same conversation lack the same parts.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from kiro.conversation.messages import Conversation, Message, NoTools, Text, ToolCall, ToolResult
from kiro.conversation.trimming import trim
from kiro.errors import ContextOverflow, KiroError

OnOverflow = Literal["trim", "summarise", "error"]
AskModel: TypeAlias = Callable[[Conversation], Awaitable[str]]

_AIM: Final = 0.8
_LOWER: Final = 0.75
_TRIES: Final = 4
_MOST_SUMMARIES: Final = 64
_PART_CHARS: Final = 2_000
_TRANSCRIPT_CHARS: Final = 240_000
_SMALL_MODELS: Final = ("claude-haiku-4.5",)
_ASK_SUMMARY: Final = (
    "Below is the earlier part of a conversation between a user and an assistant that uses tools. Write down what has"
    " to be known to go on: the task, decisions and their reasons, names of files and what was done to them, results"
    " of commands, what is still open. Only the summary, no introduction.\n\n"
)
_SUMMARISED: Final = "[Earlier parts of this conversation were removed because it had grown too long. They said:]\n\n"


class Shortened(msgspec.Struct, frozen=True):
    """A conversation that lacks `removed` of its messages; `note` tells the log how."""

    conversation: Conversation
    removed: int
    note: str


class Summaries:
    """What was asked before, by the messages it stands for."""

    def __init__(self) -> None:
        self._known: dict[bytes, str] = {}

    async def of(self, messages: Sequence[Message], model: str, ask: AskModel) -> str:
        """Raises KiroError when the model cannot be asked."""
        transcript = _transcript(messages)
        key = hashlib.blake2b(transcript.encode("utf-8", "replace")).digest()
        known = self._known.pop(key, None)
        if known is None:
            said = (Message("user", (Text(_ASK_SUMMARY + transcript),)),)
            known = (await ask(Conversation(model, said, tool_choice=NoTools()))).strip()
        self._known[key] = known
        if len(self._known) > _MOST_SUMMARIES:
            del self._known[next(iter(self._known))]
        return known


class Fitting:
    """Shortens one conversation, further each time it is asked. `models` are the ids that can be asked for."""

    def __init__(
        self, how: OnOverflow, summaries: Summaries, models: Callable[[], frozenset[str]], ask: AskModel
    ) -> None:
        self._how = how
        self._summaries = summaries
        self._models = models
        self._ask = ask
        self._tries = 0
        self._first: ContextOverflow | None = None

    async def shorten(self, conversation: Conversation, overflow: ContextOverflow) -> Shortened | None:
        """A shorter form of the whole `conversation`; None when it has to be told to the client."""
        self._tries += 1
        self._first = self._first or overflow
        if self._how == "error" or self._tries >= _TRIES:
            return None
        share = _AIM * _LOWER ** (self._tries - 1) * self._first.limit / self._first.tokens
        trimmed = trim(conversation, share)
        if trimmed is None:
            return None
        count = len(trimmed.removed)
        if self._how == "trim":
            return Shortened(trimmed.conversation, count, f"trimmed: {count} old messages left out")
        try:
            summary = await self._summaries.of(trimmed.removed, self._small_model(conversation.model), self._ask)
        except KiroError as error:
            return Shortened(
                trimmed.conversation, count, f"trimmed: {count} old messages left out; no summary: {error.message}"
            )
        told = trim(conversation, share, _SUMMARISED + summary) if summary else trimmed
        return Shortened((told or trimmed).conversation, count, f"summarised: {count} old messages")

    def _small_model(self, asked: str) -> str:
        known = self._models()
        return next((model for model in _SMALL_MODELS if model in known), asked)


def _transcript(messages: Sequence[Message]) -> str:
    """What was said, part by part, each cut to a size; of a very long one the end."""
    lines = [f"{message.role}: {text}" for message in messages if (text := _said(message))]
    return "\n\n".join(lines)[-_TRANSCRIPT_CHARS:]


def _said(message: Message) -> str:
    texts: list[str] = []
    for part in message.parts:
        match part:
            case Text(text=text):
                texts.append(_cut(text))
            case ToolCall(name=name, input=arguments):
                texts.append(f"[calls {name} with {_cut(bytes(arguments).decode('utf-8', 'replace'))}]")
            case ToolResult(parts=parts):
                inner = " ".join(one.text for one in parts if isinstance(one, Text))
                texts.append(f"[result: {_cut(inner)}]")
            case _:
                texts.append(f"[{type(part).__name__.lower()}]")
    return "\n".join(texts)


def _cut(text: str) -> str:
    if len(text) <= _PART_CHARS:
        return text
    half = _PART_CHARS // 2
    return f"{text[:half]} … {text[-half:]}"
