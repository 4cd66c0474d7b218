"""What Gemini's chunks and its whole response have in common: parts and their signatures, grounding, usage."""

from typing import Any, Final

import msgspec

from kiro.conversation.events import Finish, SearchCall, SearchResult, StopReason, Usage
from kiro.protocols.gemini.signatures import pack, pack_redacted

JsonPart = dict[str, Any]

FINISH_REASONS: Final[dict[StopReason, str]] = {
    "end_turn": "STOP",
    "tool_use": "STOP",
    "max_tokens": "MAX_TOKENS",
    "stop_sequence": "STOP",
    "refusal": "SAFETY",
    "pause_turn": "STOP",
    "model_context_window_exceeded": "MAX_TOKENS",
}


class Parts:
    """Makes the parts of one answer, and gives each the signature of the thinking before it."""

    def __init__(self, *, thoughts: bool) -> None:
        self.thoughts = thoughts
        self.signature: str | None = None
        self._waiting: JsonPart | None = None

    def text(self, text: str) -> JsonPart:
        return self._signed({"text": text})

    def taken_signature(self) -> str | None:
        signature, self.signature = self.signature, None
        return signature

    def thinking(self, text: str, signature: str | None) -> None:
        """Thinking has ended; what is seen of it went before."""
        if signature is not None:
            self._sign(pack(signature, text))

    def redacted(self, data: str) -> None:
        self._sign(pack_redacted(data))

    def closed(self, parts: list[JsonPart]) -> list[JsonPart]:
        """The last parts. A signature that no part came for stays with its thought, if that is the last."""
        if parts and "thought" in parts[-1]:
            self._signed(parts[-1])
        return parts

    def _sign(self, signature: str) -> None:
        """For the call that still waits, if there is one, else for the next part."""
        if self._waiting is not None and "thoughtSignature" not in self._waiting:
            self._waiting["thoughtSignature"] = signature
        else:
            self.signature = signature

    def call(self, call_id: str, name: str, arguments: bytes) -> None:
        """A whole call; it waits until `released`."""
        args = arguments if arguments.lstrip()[:1] == b"{" else b'{"input":%b}' % arguments
        call = {"id": call_id, "name": name, "args": msgspec.Raw(args)}
        self._waiting = self._signed({"functionCall": call})

    def released(self) -> list[JsonPart]:
        waiting, self._waiting = self._waiting, None
        return [] if waiting is None else [waiting]

    def _signed(self, part: JsonPart) -> JsonPart:
        signature = self.taken_signature()
        if signature is not None:
            part["thoughtSignature"] = signature
        return part


class Grounding:
    """What was searched and what was found."""

    def __init__(self) -> None:
        self._queries: list[str] = []
        self._chunks: list[dict[str, Any]] = []

    def add(self, event: SearchCall | SearchResult) -> None:
        if isinstance(event, SearchCall):
            self._queries.append(event.query)
        else:
            self._chunks += [{"web": {"uri": hit.url, "title": hit.title}} for hit in event.hits]

    def members(self) -> dict[str, Any]:
        if not self._queries:
            return {}
        return {"groundingMetadata": {"webSearchQueries": self._queries, "groundingChunks": self._chunks}}


def content_of(parts: list[JsonPart]) -> dict[str, Any]:
    """A turn of the model; an empty list of parts is left out."""
    return {"role": "model", "parts": parts} if parts else {"role": "model"}


def said_broken(name: str, arguments: str) -> str:
    """A call that must not run, in words, apart from whatever was said before."""
    return f"\n\n[The call of {name} was not complete and was not made. Its input so far: {arguments}]"


def finished(finish: Finish) -> dict[str, str]:
    reason = {"finishReason": FINISH_REASONS[finish.reason]}
    return reason if finish.refusal is None else {**reason, "finishMessage": finish.refusal}


def usage_document(usage: Usage) -> dict[str, int]:
    """Thinking is counted apart from the rest of the answer here, and the total is the sum of the three."""
    visible = max(0, usage.output - usage.thinking)
    numbers = {"promptTokenCount": usage.prompt, "candidatesTokenCount": visible}
    if usage.thinking:
        numbers["thoughtsTokenCount"] = usage.output - visible
    if usage.cache_read:
        numbers["cachedContentTokenCount"] = usage.cache_read
    return {**numbers, "totalTokenCount": usage.prompt + usage.output}
