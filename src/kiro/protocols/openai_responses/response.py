"""Events → the Responses stream; Answer → the response object.

Rules real clients enforce: every item is added and done, and stands whole in its done event (Codex
builds its history from nothing else); `response.completed` holds everything, with usage. Calls of
functions stream their arguments; all other kinds come whole, in the item their tool was declared as.
"""

import time
from collections.abc import Sequence
from typing import Any, Final, assert_never

import msgspec

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
)
from kiro.errors import KiroError
from kiro.protocols.base import Ask
from kiro.protocols.openai_responses import shapes
from kiro.protocols.openai_responses.failures import belongs_in_stream
from kiro.protocols.openai_responses.reasoning import seal, seal_redacted
from kiro.protocols.openai_responses.request import ResponsesAsk
from kiro.protocols.openai_responses.shapes import Item
from kiro.protocols.openai_responses.stream import Stream
from kiro.protocols.openai_responses.summary import CompactionStream
from kiro.protocols.openai_responses.tools import Declared, Kind

_encode = msgspec.json.Encoder().encode
_TEXT_MIDDLE: Final = b',"logprobs":[],"sequence_number":'
_DELTA_MIDDLE: Final = b',"sequence_number":'
_DELTA_END: Final = b"}\n\n"
_ID_PREFIXES: Final[dict[Kind, str]] = {
    "function": "fc",
    "custom": "ctc",
    "local_shell": "lsh",
    "shell": "sh",
    "apply_patch": "apc",
    "tool_search": "tsc",
}


class ResponsesStream(Stream):
    """Renderer of one response. Text deltas cost one prefix, one JSON string and one number."""

    def __init__(self, ask: ResponsesAsk, answer_id: str, created_s: int) -> None:
        super().__init__(ask, answer_id, created_s)
        wish = ask.conversation.thinking
        self._shows_thinking = wish.show and wish.mode in ("on", "adaptive")
        self._one_call = not ask.conversation.parallel_calls
        self._calls = 0
        self._open: type[Event] | None = None
        self._item_id = ""
        self._prefix = b""
        self._pieces: list[str] = []
        self._call: ToolCallStart | None = None
        self._search: SearchCall | None = None
        self._hits: list[SearchHit] = []

    def feed(self, events: Sequence[Event]) -> bytes:
        """The bytes of these events. Text that came together leaves as one delta; more of it alone is the hot path."""
        if len(events) == 1 and type(event := events[0]) is TextDelta and self._open is TextDelta:
            return self._text_delta(event.text)
        out: list[bytes] = []
        said: list[str] = []
        for event in events:
            if type(event) is TextDelta:
                said.append(event.text)
                continue
            if said:
                self._say("".join(said), out)
                said.clear()
            self._render(event, out)
        if said:
            self._say("".join(said), out)
        return b"".join(out)

    def _render(self, event: Event, out: list[bytes]) -> None:
        match event:
            case ThinkingDelta(text=text):
                self._think(text, out)
            case ThinkingEnd(signature=signature):
                self._end_thinking(signature, out)
            case ToolCallDelta(fragment=fragment):
                self._pieces.append(fragment)
                if self._prefix:
                    self._delta(fragment, out)
            case ToolCallStart():
                self._begin_call(event, out)
            case ToolCallEnd(complete=complete):
                self._end_call(out, complete=complete)
            case RedactedThinkingBlock(data=data):
                self._end_text(out)
                self._reason(self._new_id("rs"), "", seal_redacted(data), out)
            case Start():
                self._begin(out)
            case SearchCall():
                self._begin_search(event, out)
            case SearchResult():
                self._end_search(event, out)
            case Finish():
                self._finish(event, out)
            case TextDelta(text=text):
                self._say(text, out)
            case _:
                assert_never(event)

    def _open_block(self, kind: type[Event], item_id: str, event: str, place: str) -> None:
        """`event` is the name of its deltas, `place` the JSON member that tells where in the item they belong."""
        self._open, self._item_id = kind, item_id
        self._pieces.clear()
        head = f'{{"type":"{event}","item_id":"{item_id}","output_index":{len(self._output)},{place}"delta":'
        self._prefix = f"event: {event}\ndata: {head}".encode()

    def _delta(self, text: str, out: list[bytes]) -> None:
        out += (self._prefix, _encode(text), _DELTA_MIDDLE, _encode(self._sequence), _DELTA_END)
        self._sequence += 1

    def _take(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        self._open = None
        self._prefix = b""
        return text

    def _where(self, **place: int) -> dict[str, Any]:
        return {"item_id": self._item_id, "output_index": len(self._output), **place}

    # -- text

    def _say(self, text: str, out: list[bytes]) -> None:
        if self._open is not TextDelta:
            self._begin_text(out)
        out.append(self._text_delta(text))

    def _text_delta(self, text: str) -> bytes:
        self._pieces.append(text)
        number = self._sequence
        self._sequence = number + 1
        return b"".join((self._prefix, _encode(text), _TEXT_MIDDLE, _encode(number), _DELTA_END))

    def _begin_text(self, out: list[bytes]) -> None:
        item_id = self._new_id("msg")
        self._add(shapes.message(item_id, "in_progress", []), out)
        self._open_block(TextDelta, item_id, "response.output_text.delta", '"content_index":0,')
        part = {**self._where(content_index=0), "part": shapes.text_part("", [])}
        self._record("response.content_part.added", part, out)

    def _end_text(self, out: list[bytes]) -> None:
        if self._open is not TextDelta:
            return
        text = self._take()
        where = self._where(content_index=0)
        annotations = shapes.citations(text, self._hits) if self._hits else []
        self._hits.clear()
        for at, annotation in enumerate(annotations):
            cited = {**where, "annotation_index": at, "annotation": annotation}
            self._record("response.output_text.annotation.added", cited, out)
        part = shapes.text_part(text, annotations)
        self._record("response.output_text.done", {**where, "text": text, "logprobs": []}, out)
        self._record("response.content_part.done", {**where, "part": part}, out)
        self._done(shapes.message(self._item_id, "completed", [part]), out)

    # -- thinking

    def _think(self, text: str, out: list[bytes]) -> None:
        if self._open is not ThinkingDelta:
            self._begin_thinking(out)
        self._pieces.append(text)
        if self._prefix:
            self._delta(text, out)

    def _begin_thinking(self, out: list[bytes]) -> None:
        self._end_text(out)
        item_id = self._new_id("rs")
        self._open_block(ThinkingDelta, item_id, "response.reasoning_summary_text.delta", '"summary_index":0,')
        if not self._shows_thinking:
            self._prefix = b""
            return
        self._add(shapes.reasoning(item_id, "in_progress", "", None), out)
        part = {"type": "summary_text", "text": ""}
        self._record("response.reasoning_summary_part.added", {**self._where(summary_index=0), "part": part}, out)

    def _end_thinking(self, signature: str | None, out: list[bytes]) -> None:
        if self._open is not ThinkingDelta:
            self._end_text(out)
            if signature is not None:
                self._reason(self._new_id("rs"), "", seal("", signature), out)
            return
        text = self._take()
        sealed = None if signature is None else seal(text, signature)
        if not self._shows_thinking:
            self._reason(self._item_id, text, sealed, out)
            return
        where = self._where(summary_index=0)
        part = {"type": "summary_text", "text": text}
        self._record("response.reasoning_summary_text.done", {**where, "text": text}, out)
        self._record("response.reasoning_summary_part.done", {**where, "part": part}, out)
        shown = shapes.reasoning(self._item_id, "completed", text, sealed if self._ask.sealed else None)
        self._done(shown, out, kept=shapes.reasoning(self._item_id, "completed", text, sealed))

    def _reason(self, item_id: str, text: str, sealed: str | None, out: list[bytes]) -> None:
        """Thinking without a visible summary: an item for clients that send it back, else for the store alone."""
        if sealed is None:
            return
        item = shapes.reasoning(item_id, "completed", "", sealed)
        if self._ask.sealed:
            self._whole_item(shapes.reasoning(item_id, "in_progress", "", None), item, out)
        else:
            self._kept.append(item)

    # -- calls

    def _begin_call(self, start: ToolCallStart, out: list[bytes]) -> None:
        self._end_text(out)
        declared = self._declared(start)
        item_id = self._new_id(_ID_PREFIXES[declared.kind])
        self._open_block(ToolCallStart, item_id, "response.function_call_arguments.delta", "")
        hidden = self._one_call and self._calls > 0
        self._call = None if hidden else start
        self._calls += 1
        if hidden or declared.kind != "function":
            self._prefix = b""
            return
        self._add(shapes.function_call(self._item_id, "in_progress", start, declared, ""), out)

    def _declared(self, start: ToolCallStart) -> Declared:
        return self._ask.declared.get(start.name) or Declared("function", start.name)

    def _end_call(self, out: list[bytes], *, complete: bool) -> None:
        streamed, prefix = bool(self._prefix), self._prefix
        arguments = self._take()
        start, self._call = self._call, None
        if start is None:
            return
        declared = self._declared(start)
        if not streamed:
            item = shapes.whole_call(self._item_id, start, declared, arguments or "{}") if complete else None
            if item is None:
                self._say(shapes.said_broken(start.name, arguments), out)
                self._end_text(out)
            else:
                self._end_whole_call(item, out)
            return
        if not arguments and complete:
            arguments, self._prefix = "{}", prefix
            self._delta(arguments, out)
            self._prefix = b""
        done = {**self._where(), "name": declared.name, "arguments": arguments}
        self._record("response.function_call_arguments.done", done, out)
        status = "completed" if complete else "incomplete"
        self._done(shapes.function_call(self._item_id, status, start, declared, arguments), out)

    def _end_whole_call(self, item: Item, out: list[bytes]) -> None:
        if item["type"] != "custom_tool_call":
            self._whole_item({**item, "status": "in_progress"}, item, out)
            return
        text = item["input"]
        self._add({**item, "status": "in_progress", "input": ""}, out)
        if text:
            self._record("response.custom_tool_call_input.delta", {**self._where(), "delta": text}, out)
        self._record("response.custom_tool_call_input.done", {**self._where(), "input": text}, out)
        self._done(item, out)

    # -- searches

    def _begin_search(self, call: SearchCall, out: list[bytes]) -> None:
        self._end_text(out)
        self._search, self._item_id = call, self._new_id("ws")
        self._add(shapes.web_search(self._item_id, call, None, with_sources=False), out)
        self._record("response.web_search_call.in_progress", self._where(), out)
        self._record("response.web_search_call.searching", self._where(), out)

    def _end_search(self, result: SearchResult, out: list[bytes]) -> None:
        call, self._search = self._search, None
        if call is None:
            raise ValueError("a search ended that never began")
        self._hits += result.hits
        self._record("response.web_search_call.completed", self._where(), out)
        with_sources = "web_search_call.action.sources" in (self._ask.body.include or ())
        item = shapes.web_search(self._item_id, call, result, with_sources=with_sources)
        self._done(item, out, kept=shapes.with_results(item, result.hits))

    # -- the end

    def _finish(self, finish: Finish, out: list[bytes]) -> None:
        self._end_text(out)
        if finish.reason == "refusal":
            if self._ask.codex:
                why = finish.refusal or "It gave no reason."
                self._fail({"code": "invalid_prompt", "message": f"The model declined to answer. {why}"}, out)
                return
            if finish.refusal is not None:
                self._refuse(finish.refusal, out)
        self._end(finish, out)

    def _refuse(self, refusal: str, out: list[bytes]) -> None:
        """A message that holds nothing but why the model declined."""
        self._item_id = self._new_id("msg")
        where = self._where(content_index=0)
        part = {"type": "refusal", "refusal": refusal}
        self._add(shapes.message(self._item_id, "in_progress", []), out)
        self._record("response.content_part.added", {**where, "part": {"type": "refusal", "refusal": ""}}, out)
        self._record("response.refusal.delta", {**where, "delta": refusal}, out)
        self._record("response.refusal.done", {**where, "refusal": refusal}, out)
        self._record("response.content_part.done", {**where, "part": part}, out)
        self._done(shapes.message(self._item_id, "completed", [part]), out)


def renderer(ask: Ask, answer_id: str, *, created_s: int | None = None) -> ResponsesStream | CompactionStream:
    asked = of_responses(ask)
    kind = CompactionStream if asked.compact else ResponsesStream
    return kind(asked, answer_id, int(time.time()) if created_s is None else created_s)


def of_responses(ask: Ask) -> ResponsesAsk:
    return ask if isinstance(ask, ResponsesAsk) else ResponsesAsk(ask.conversation, ask.stream, ask.notes)


def failed_stream(ask: Ask, error: KiroError, answer_id: str = "0") -> bytes | None:
    """For Codex, and for overflow and limits only: a whole stream that has failed, to be sent with status 200.

    None means that the error's own status is right.
    """
    asked = of_responses(ask)
    if not (asked.codex and asked.stream and belongs_in_stream(error)):
        return None
    return renderer(asked, answer_id).failure(error)


def count(tokens: int) -> bytes:
    return _encode({"object": "response.input_tokens", "input_tokens": tokens})
