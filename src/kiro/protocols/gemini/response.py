"""Events → Gemini's chunks; Answer → Gemini's response; model lists in Gemini's shape.

Rules real clients enforce: no empty parts, one finish reason, function calls whole (the dialect has no
partial arguments) and `thoughtSignature` valid base64. Streams are server-sent events without names
and without an end mark, or, without `alt=sse`, one JSON array that is written piece by piece.

Two things are held back for a moment. The last character of the text, because Google's Python library
forgets a turn of its chat when any chunk comes without a part, and the finish reason would be such a
chunk. And a finished call, for that reason too, and because a signature of thinking goes with the part
after it, but some models give theirs after their calls. Thoughts are held back by a character too.
"""

from collections.abc import Sequence
from typing import Any, Final, assert_never

import msgspec

from kiro.conversation.collect import Answer, BrokenCall
from kiro.conversation.events import (
    Event,
    Finish,
    RedactedThinkingBlock,
    SearchCall,
    SearchResult,
    Start,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from kiro.conversation.messages import RedactedThinking, Text, Thinking, ToolCall
from kiro.errors import KiroError
from kiro.protocols.base import Ask, ModelCard
from kiro.protocols.gemini.errors import document
from kiro.protocols.gemini.pieces import (
    Grounding,
    JsonPart,
    Parts,
    content_of,
    finished,
    said_broken,
    usage_document,
)
from kiro.protocols.gemini.request import GeminiAsk

_METHODS: Final = ("generateContent", "streamGenerateContent", "countTokens")

_encode = msgspec.json.Encoder().encode


class GeminiStream:
    """Renderer of one response. Text deltas cost one prefix, one JSON string and one suffix."""

    def __init__(self, ask: GeminiAsk, response_id: str) -> None:
        self.content_type = "text/event-stream; charset=utf-8" if ask.sse else "application/json; charset=utf-8"
        self._sse = ask.sse
        tail = _encode({"modelVersion": ask.conversation.model, "responseId": response_id})[1:]
        self._opening = b"data: " if ask.sse else b"["
        self._before = b"data: " if ask.sse else b",\n"
        self._after = b"," + tail + (b"\n\n" if ask.sse else b"")
        self._text_prefix = self._before + b'{"candidates":[{"content":{"role":"model","parts":[{"text":'
        self._text_suffix = b'}]},"index":0}]' + self._after
        self._thought_suffix = b',"thought":true}]},"index":0}]' + self._after
        self._parts = Parts(thoughts=ask.shows_thoughts)
        self._grounding = Grounding()
        self._begun = False
        self._plain = False
        self._tail = ""
        self._tail_is_thought = False
        self._text_signature: str | None = None
        self._call: ToolCallStart | None = None
        self._pieces: list[str] = []

    def feed(self, events: Sequence[Event]) -> bytes:
        if len(events) == 1 and self._plain and self._begun:
            event = events[0]
            if type(event) is TextDelta:
                # The usual case when Kiro is slower than we are: one text at a time.
                text = self._tail + event.text
                self._tail = text[-1]
                return self._text_prefix + _encode(text[:-1]) + self._text_suffix
        out: list[bytes] = []
        run = ""
        for event in events:
            if self._plain and type(event) is TextDelta:
                if run:
                    out += (self._text_prefix, _encode(run), self._text_suffix)
                    run = event.text
                else:
                    run = self._tail + event.text
                continue
            if run:
                self._end_run(run, out)
                run = ""
            if type(event) is ThinkingDelta:
                self._think(event.text, out)
            elif type(event) is ToolCallDelta:
                self._pieces.append(event.fragment)
            else:
                self._render(event, out)
        if run:
            self._end_run(run, out)
        if not self._begun and out:
            self._begun = True
            out[0] = self._opening + out[0].removeprefix(self._before)
        return b"".join(out)

    def keepalive(self) -> bytes:
        """White space: a comment line would break Google's own Python client."""
        return b"\n"

    def failure(self, error: KiroError) -> bytes:
        """The error as one more element. The array stays open: nobody may take it for whole."""
        body = _encode(document(error))
        if self._sse:
            return b"data: %b\n\n" % body
        return (self._before if self._begun else self._opening) + body

    def _render(self, event: Event, out: list[bytes]) -> None:
        self._plain = False
        match event:
            case TextDelta(text=text):
                self._text(text, out)
            case ThinkingEnd(signature=signature):
                self._parts.thinking(self._take(), signature)
            case RedactedThinkingBlock(data=data):
                self._parts.redacted(data)
            case ToolCallStart():
                self._send(self._held(), out)
                self._call = event
            case ToolCallEnd(complete=complete):
                self._end_call(out, complete=complete)
            case SearchCall() | SearchResult():
                self._grounding.add(event)
            case Start():
                pass  # the first part says that the answer has begun
            case ThinkingDelta() | ToolCallDelta():
                out.append(self.feed((event,)))
            case Finish():
                self._finish(event, out)
            case _:
                assert_never(event)

    def _end_run(self, text: str, out: list[bytes]) -> None:
        """The last text of a batch, but for its last character."""
        self._tail = text[-1]
        if len(text) > 1:
            out += (self._text_prefix, _encode(text[:-1]), self._text_suffix)

    def _think(self, text: str, out: list[bytes]) -> None:
        self._pieces.append(text)
        self._plain = False
        if not self._parts.thoughts:
            return
        if self._tail and self._tail_is_thought:
            text = self._tail + text
            self._tail = text[-1]
            out += (self._text_prefix, _encode(text[:-1]), self._thought_suffix)
        else:
            self._send(self._held(), out)
            self._tail_is_thought = True
            self._keep_tail(text, out)

    def _text(self, text: str, out: list[bytes]) -> None:
        """The beginning of a text, or more of it."""
        if not self._tail or self._tail_is_thought or self._parts.signature is not None:
            self._send(self._held(), out)
            self._tail_is_thought = False
            self._text_signature = self._parts.taken_signature()
        self._keep_tail(self._tail + text, out)
        self._plain = self._text_signature is None

    def _keep_tail(self, text: str, out: list[bytes]) -> None:
        """Sends all but the last character, which stays here."""
        self._tail = text[-1]
        if len(text) > 1:
            self._send([self._piece(text[:-1])], out)

    def _piece(self, text: str) -> JsonPart:
        """A part of the text that is open; its first one is signed."""
        if self._tail_is_thought:
            return {"text": text, "thought": True}
        signature, self._text_signature = self._text_signature, None
        return {"text": text} if signature is None else {"text": text, "thoughtSignature": signature}

    def _held(self) -> list[JsonPart]:
        """What was held back: a finished call, or the end of a text."""
        tail, self._tail = self._tail, ""
        return [self._piece(tail)] if tail else self._parts.released()

    def _end_call(self, out: list[bytes], *, complete: bool) -> None:
        call, self._call = self._call, None
        text = self._take()
        if call is None:
            raise ValueError("a tool call ended that never began")
        if complete:
            self._parts.call(call.id, call.name, text.encode("utf-8", "replace") or b"{}")
        else:
            self._text(said_broken(call.name, text), out)

    def _take(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        return text

    def _send(self, parts: list[JsonPart], out: list[bytes]) -> None:
        if parts:
            candidate = {"content": content_of(parts), "index": 0}
            self._chunk({"candidates": [candidate]}, out)

    def _chunk(self, members: dict[str, Any], out: list[bytes]) -> None:
        out += (self._before, _encode(members)[:-1], self._after)

    def _finish(self, finish: Finish, out: list[bytes]) -> None:
        candidate = {
            "content": content_of(self._parts.closed(self._held())),
            **finished(finish),
            "index": 0,
            **self._grounding.members(),
        }
        self._chunk({"candidates": [candidate], "usageMetadata": usage_document(finish.usage)}, out)
        if not self._sse:
            out.append(b"]\n")


def _of_gemini(ask: Ask) -> GeminiAsk:
    return ask if isinstance(ask, GeminiAsk) else GeminiAsk(ask.conversation, ask.stream, ask.notes)


def renderer(ask: Ask, answer_id: str) -> GeminiStream:
    return GeminiStream(_of_gemini(ask), answer_id)


def answer(ask: Ask, answer: Answer, answer_id: str) -> bytes:
    """The whole response, for clients that do not stream."""
    making = Parts(thoughts=_of_gemini(ask).shows_thoughts)
    grounding = Grounding()
    parts: list[JsonPart] = []
    for block in answer.blocks:
        if not isinstance(block, Thinking | RedactedThinking):
            parts += making.released()
        match block:
            case Text(text=text):
                parts.append(making.text(text))
            case Thinking(text=text, signature=signature):
                if making.thoughts and text:
                    parts += [*making.released(), {"text": text, "thought": True}]
                making.thinking(text, signature)
            case RedactedThinking(data=data):
                making.redacted(data)
            case ToolCall(id=call_id, name=name, input=raw):
                making.call(call_id, name, bytes(raw))
            case BrokenCall(name=name, text=text):
                parts.append(making.text(said_broken(name, text)))
            case SearchCall() | SearchResult():
                grounding.add(block)
            case _:
                assert_never(block)
    parts = making.closed([*parts, *making.released()])
    candidate = {"content": content_of(parts), **finished(answer.finish), "index": 0, **grounding.members()}
    return _encode(
        {
            "candidates": [candidate],
            "usageMetadata": usage_document(answer.finish.usage),
            "modelVersion": ask.conversation.model,
            "responseId": answer_id,
        }
    )


def models(cards: Sequence[ModelCard]) -> bytes:
    return _encode({"models": [_model(card) for card in cards]})


def model(card: ModelCard) -> bytes:
    return _encode(_model(card))


def _model(card: ModelCard) -> dict[str, Any]:
    return {
        "name": f"models/{card.id}",
        "version": card.created,
        "displayName": card.name,
        "inputTokenLimit": card.window,
        "outputTokenLimit": card.max_output,
        "supportedGenerationMethods": _METHODS,
        "thinking": card.thinking,
    }


def count(tokens: int) -> bytes:
    return _encode({"totalTokens": tokens})
