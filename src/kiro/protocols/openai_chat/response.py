"""Events → Chat's chunks; Answer → Chat's completion; errors in OpenAI's words.

Rules real clients enforce: an `id` in every chunk; the role first; a call announced by index, id and
name before its arguments; exactly one chunk with a finish reason; a chunk without choices only for
clients that asked for usage; `[DONE]` only after an answer that is whole.

Thinking goes out as `reasoning_content`, the name most clients read. Its signature follows in
`reasoning_details`, together with the text it signs, for clients that send it back.
"""

import time
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
from kiro.protocols.base import Ask, ErrorReply
from kiro.protocols.openai import error_detail, error_reply
from kiro.protocols.openai_chat.pieces import (
    Citations,
    custom_call,
    finish_reason,
    redacted,
    said_broken,
    signed,
    usage_document,
)
from kiro.protocols.openai_chat.request import ChatAsk
from kiro.protocols.sse import data_record

_PROMPT: Final = "messages"
_KEEPALIVE: Final = b": keepalive\n\n"
_DONE: Final = b"data: [DONE]\n\n"
_END: Final = b'},"finish_reason":null}]}\n\n'

_encode = msgspec.json.Encoder().encode


class _OpenCall:
    """The call being sent. `hidden` ones belong to nobody: the client takes one call only."""

    __slots__ = ("fragments", "hidden", "prefix", "start")

    def __init__(self, start: ToolCallStart, *, hidden: bool) -> None:
        self.start = start
        self.hidden = hidden
        self.prefix = b""
        self.fragments: list[str] = []


class ChatStream:
    """Renderer of one completion. Text deltas cost one prefix, one JSON string and one suffix."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, ask: ChatAsk, completion_id: str, created_s: int) -> None:
        self._ask = ask
        head = {"id": completion_id, "object": "chat.completion.chunk", "created": created_s}
        members = _encode({**head, "model": ask.conversation.model})[:-1]
        self._top = b"data: " + members + b',"choices":['
        self._choice = self._top + b'{"index":0,"delta":'
        self._text_prefix = self._choice + b'{"content":'
        self._reasoning_prefix = self._choice + b'{"reasoning_content":'
        self._thinks = ask.conversation.thinking.mode != "off"
        self._one_call = not ask.conversation.parallel_calls
        self._calls = 0
        self._call: _OpenCall | None = None
        self._thought: list[str] = []
        self._details = 0
        self._citing = Citations() if ask.conversation.web_search is not None else None

    def feed(self, events: Sequence[Event]) -> bytes:
        out: list[bytes] = []
        for event in events:
            if type(event) is TextDelta:
                out += (self._text_prefix, _encode(event.text), _END)
                if self._citing is not None:
                    self._citing.chars += len(event.text)
            elif type(event) is ToolCallDelta:
                self._arguments(event.fragment, out)
            else:
                self._render(event, out)
        return b"".join(out)

    def keepalive(self) -> bytes:
        return _KEEPALIVE

    def failure(self, error: KiroError) -> bytes:
        return data_record({"error": error_detail(error, prompt_param=_PROMPT)})

    def _render(self, event: Event, out: list[bytes]) -> None:
        match event:
            case ThinkingDelta(text=text):
                if self._thinks:
                    self._thought.append(text)
                    out += (self._reasoning_prefix, _encode(text), _END)
            case ThinkingEnd(signature=signature):
                text = "".join(self._thought)
                self._thought.clear()
                if self._thinks and signature is not None:
                    self._detail(signed(text, signature), out)
            case RedactedThinkingBlock(data=data):
                if self._thinks:
                    self._detail(redacted(data), out)
            case ToolCallStart():
                self._start_call(event, out)
            case ToolCallEnd(complete=complete):
                self._end_call(out, complete=complete)
            case Start():
                out.append(self._chunk({"role": "assistant", "content": ""}))
            case SearchResult(hits=hits):
                if self._citing is not None:
                    self._citing.found(hits)
            case SearchCall():
                pass  # the client sees what was found, as citations
            case Finish():
                self._finish(event, out)
            case TextDelta() | ToolCallDelta():
                out.append(self.feed((event,)))
            case _:
                assert_never(event)

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        return b'%b%b,"finish_reason":%b}]}\n\n' % (self._choice, _encode(delta), _encode(finish_reason))

    def _detail(self, detail: dict[str, Any], out: list[bytes]) -> None:
        out.append(self._chunk({"reasoning_details": [{**detail, "index": self._details}]}))
        self._details += 1

    def _start_call(self, start: ToolCallStart, out: list[bytes]) -> None:
        call = self._call = _OpenCall(start, hidden=self._one_call and self._calls > 0)
        if call.hidden or start.name in self._ask.custom_tools:
            return
        if self._ask.legacy:
            call.prefix = self._choice + b'{"function_call":{"arguments":'
            out.append(self._chunk({"function_call": {"name": start.name, "arguments": ""}}))
        else:
            call.prefix = self._choice + b'{"tool_calls":[{"index":%d,"function":{"arguments":' % self._calls
            function = {"name": start.name, "arguments": ""}
            announced = {"index": self._calls, "id": start.id, "type": "function", "function": function}
            out.append(self._chunk({"tool_calls": [announced]}))
        self._calls += 1

    def _arguments(self, fragment: str, out: list[bytes]) -> None:
        call = self._call
        if call is None or call.hidden:
            return
        if call.prefix:
            out += (call.prefix, _encode(fragment), b"}" if self._ask.legacy else b"}}]", _END)
        call.fragments.append(fragment)

    def _end_call(self, out: list[bytes], *, complete: bool) -> None:
        """Closes the call. Free text is given whole: half of it could not be told from all of it."""
        call, self._call = self._call, None
        if call is None or call.hidden:
            return
        if call.prefix:
            if not call.fragments:
                out += (call.prefix, b'"{}"', b"}" if self._ask.legacy else b"}}]", _END)
            return
        text = "".join(call.fragments)
        if not complete:
            self._text(said_broken(call.start.name, text), out)
            return
        out.append(self._chunk({"tool_calls": [{"index": self._calls, **custom_call(call.start, text)}]}))
        self._calls += 1

    def _text(self, text: str, out: list[bytes]) -> None:
        out.append(self.feed((TextDelta(text),)))

    def _finish(self, finish: Finish, out: list[bytes]) -> None:
        if finish.refusal is not None:
            out.append(self._chunk({"refusal": finish.refusal}))
        if self._citing is not None and (annotations := self._citing.annotations()):
            out.append(self._chunk({"annotations": annotations}))
        out.append(self._chunk({}, finish_reason(finish, self._ask)))
        if self._ask.include_usage:
            out.append(b'%b],"usage":%b}\n\n' % (self._top, _encode(usage_document(finish.usage))))
        out.append(_DONE)


def _of_chat(ask: Ask) -> ChatAsk:
    return ask if isinstance(ask, ChatAsk) else ChatAsk(ask.conversation, ask.stream, ask.notes)


def renderer(ask: Ask, answer_id: str, *, created_s: int | None = None) -> ChatStream:
    return ChatStream(_of_chat(ask), f"chatcmpl-{answer_id}", int(time.time()) if created_s is None else created_s)


def answer(ask: Ask, answer: Answer, answer_id: str, *, created_s: int | None = None) -> bytes:
    """The whole completion, for clients that do not stream."""
    chat = _of_chat(ask)
    return _encode(
        {
            "id": f"chatcmpl-{answer_id}",
            "object": "chat.completion",
            "created": int(time.time()) if created_s is None else created_s,
            "model": ask.conversation.model,
            "choices": [
                {
                    "index": 0,
                    "message": _message(chat, answer),
                    "logprobs": None,
                    "finish_reason": finish_reason(answer.finish, chat),
                }
            ],
            "usage": usage_document(answer.finish.usage),
            "service_tier": "default",
        }
    )


def _message(ask: ChatAsk, answer: Answer) -> dict[str, Any]:
    shown = ask.conversation.thinking.mode != "off"
    texts: list[str] = []
    thoughts: list[str] = []
    details: list[dict[str, Any]] = []
    calls: list[ToolCall] = []
    citing = Citations()
    for block in answer.blocks:
        match block:
            case Text(text=text):
                texts.append(text)
                citing.chars += len(text)
            case BrokenCall():
                texts.append(said_broken(block.name, block.text))
                citing.chars += len(texts[-1])
            case ToolCall():
                calls.append(block)
            case Thinking(text=text, signature=signature):
                thoughts.append(text)
                if signature is not None:
                    details.append({**signed(text, signature), "index": len(details)})
            case RedactedThinking(data=data):
                details.append({**redacted(data), "index": len(details)})
            case SearchResult(hits=hits):
                citing.found(hits)
            case SearchCall():
                pass  # the client sees what was found, as citations
            case _:
                assert_never(block)
    if not ask.conversation.parallel_calls:
        del calls[1:]
    content = "".join(texts)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": content if content or not calls else None,
        "refusal": answer.finish.refusal,
        "annotations": citing.annotations(),
    }
    if shown and any(thoughts):
        message["reasoning_content"] = "".join(thoughts)
    if shown and details:
        message["reasoning_details"] = details
    if calls and ask.legacy:
        message["function_call"] = _called(calls[0])
    elif calls:
        message["tool_calls"] = [_tool_call(call, ask) for call in calls]
    return message


def _called(call: ToolCall) -> dict[str, str]:
    return {"name": call.name, "arguments": bytes(call.input).decode()}


def _tool_call(call: ToolCall, ask: ChatAsk) -> dict[str, Any]:
    if call.name in ask.custom_tools:
        return custom_call(ToolCallStart(call.id, call.name), bytes(call.input).decode())
    return {"id": call.id, "type": "function", "function": _called(call)}


def error(error: KiroError, request_id: str) -> ErrorReply:  # noqa: ARG001  the header tells it; the body has no place
    return error_reply(error, prompt_param=_PROMPT)


def count(tokens: int) -> bytes:
    return _encode({"object": "chat.completion.input_tokens", "input_tokens": tokens})
