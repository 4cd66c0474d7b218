"""What Chat's chunks and its whole completion have in common: calls of free text, citations, reasons, usage."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kiro.conversation.events import Finish, SearchHit, StopReason, ToolCallStart, Usage
from kiro.protocols.openai import searches_of
from kiro.protocols.openai_chat.request import ChatAsk

FINISH_REASONS: Final[dict[StopReason, str]] = {
    "end_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "stop_sequence": "stop",
    "refusal": "content_filter",
    "pause_turn": "stop",
    "model_context_window_exceeded": "length",
}


class _FreeInput(msgspec.Struct):
    input: str = ""


_decode_free = msgspec.json.Decoder(_FreeInput).decode


class Citations:
    """What searches found, and which part of the text was written with it: all that follows the search."""

    def __init__(self) -> None:
        self.chars = 0
        self._found: list[tuple[int, SearchHit]] = []

    def found(self, hits: Sequence[SearchHit]) -> None:
        self._found += [(self.chars, hit) for hit in hits]

    def annotations(self) -> list[dict[str, Any]]:
        return [
            {
                "type": "url_citation",
                "url_citation": {"url": hit.url, "title": hit.title, "start_index": start, "end_index": self.chars},
            }
            for start, hit in self._found
        ]


def custom_call(call: ToolCallStart, arguments: str) -> dict[str, Any]:
    """A call of a tool that takes free text: the one string of its arguments. Arguments of another shape are given as they are."""
    try:
        text = _decode_free(arguments.encode()).input
    except msgspec.DecodeError:
        text = arguments
    return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": text}}


def said_broken(name: str, arguments: str) -> str:
    """A call that must not run, in words, apart from whatever was said before."""
    return f"\n\n[The call of {name} was not complete and was not made. Its input so far: {arguments}]"


def signed(text: str, signature: str) -> dict[str, Any]:
    return {"type": "reasoning.text", "text": text, "signature": signature}


def redacted(data: str) -> dict[str, Any]:
    return {"type": "reasoning.encrypted", "data": data}


def finish_reason(finish: Finish, ask: ChatAsk) -> str:
    if ask.legacy and finish.reason == "tool_use":
        return "function_call"
    return FINISH_REASONS[finish.reason]


def usage_document(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.thinking, "audio_tokens": 0},
        **searches_of(usage),
    }
