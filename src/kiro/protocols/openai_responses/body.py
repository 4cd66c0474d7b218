"""The Responses request as clients send it: wide, tolerant types.

One wide `Item` serves every kind of input item and one `Content` every kind of content part: unknown
kinds are legal (they become a line of text), unknown members are skipped. Members whose shape depends
on the kind (`output`, `action`, `arguments` …) stay raw JSON until the kind is known. `Echo` holds what
the response object repeats word for word.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import msgspec

from kiro.errors import InvalidRequest
from kiro.reading import read

T = TypeVar("T")

NOTHING: Final = msgspec.Raw()
"""Stands for an absent raw member: `Raw` cannot be part of a union."""


def given(raw: msgspec.Raw) -> msgspec.Raw | None:
    """The raw JSON, or None where it is absent or null."""
    return None if bytes(raw) in (b"", b"null") else raw


def lenient(raw: msgspec.Raw, decoder: msgspec.json.Decoder[T]) -> T | None:
    """The raw JSON as what `decoder` reads; None where it is absent or of another shape."""
    if given(raw) is None:
        return None
    try:
        return read(decoder, bytes(raw))
    except InvalidRequest:
        return None


class Link(msgspec.Struct, gc=False):
    url: str | None = None


class Content(msgspec.Struct, gc=False):
    """Any content part. Which members count depends on `type`."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    image_url: str | Link | None = None
    file_id: str | None = None
    filename: str | None = None
    file_data: str | None = None
    file_url: str | None = None


class Tool(msgspec.Struct, gc=False):
    """A declared tool of any kind. `tools` are those of a namespace."""

    type: str = ""
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = NOTHING
    format: msgspec.Raw = NOTHING
    environment: msgspec.Raw = NOTHING
    filters: msgspec.Raw = NOTHING
    execution: str | None = None
    tools: "list[Tool] | None" = None


class Item(msgspec.Struct, gc=False):
    """Any input item. `type` may be missing where there is a `role`.

    `is_error` is no word of OpenAI's: clients that speak several dialects add it to the output of a tool that failed.
    """

    type: str | None = None
    role: str | None = None
    content: str | list[Content] | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    status: str | None = None
    is_error: bool | None = None
    server_label: str | None = None
    encrypted_content: str | None = None
    summary: list[Content] | None = None
    tools: list[Tool] | None = None
    input: msgspec.Raw = NOTHING
    arguments: msgspec.Raw = NOTHING
    output: msgspec.Raw = NOTHING
    action: msgspec.Raw = NOTHING
    operation: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING
    code: msgspec.Raw = NOTHING
    queries: msgspec.Raw = NOTHING
    results: msgspec.Raw = NOTHING
    approve: msgspec.Raw = NOTHING
    reason: msgspec.Raw = NOTHING


class ToolChoice(msgspec.Struct, gc=False):
    type: str = ""
    name: str | None = None
    namespace: str | None = None
    mode: str | None = None
    tools: "list[ToolChoice] | None" = None


class Reasoning(msgspec.Struct, gc=False):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class Format(msgspec.Struct, gc=False):
    type: str | None = None
    schema: msgspec.Raw = NOTHING


class TextWish(msgspec.Struct, gc=False):
    format: Format | None = None


class Body(msgspec.Struct, frozen=True, gc=False):
    model: str
    input: str | list[Item] | None = None
    instructions: str | list[Item] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    text: TextWish | None = None
    max_output_tokens: float | None = None
    stream: bool | None = None
    store: bool | None = None
    include: list[str] | None = None
    truncation: str | None = None
    prompt_cache_key: str | None = None
    previous_response_id: str | None = None
    background: bool | None = None
    conversation: Any = None
    prompt: Any = None


class Echo(msgspec.Struct, frozen=True, gc=False):
    """The request's own JSON of what the response object repeats, and of the input, which a store keeps."""

    input: msgspec.Raw = NOTHING
    instructions: msgspec.Raw = NOTHING
    max_output_tokens: msgspec.Raw = NOTHING
    max_tool_calls: msgspec.Raw = NOTHING
    metadata: msgspec.Raw = NOTHING
    prompt_cache_key: msgspec.Raw = NOTHING
    reasoning: msgspec.Raw = NOTHING
    safety_identifier: msgspec.Raw = NOTHING
    temperature: msgspec.Raw = NOTHING
    text: msgspec.Raw = NOTHING
    tool_choice: msgspec.Raw = NOTHING
    tools: msgspec.Raw = NOTHING
    top_p: msgspec.Raw = NOTHING
    truncation: msgspec.Raw = NOTHING
    user: msgspec.Raw = NOTHING


KNOWN_ITEMS: Final = frozenset(
    {
        "message",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "local_shell_call",
        "local_shell_call_output",
        "shell_call",
        "shell_call_output",
        "apply_patch_call",
        "apply_patch_call_output",
        "tool_search_call",
        "tool_search_output",
        "additional_tools",
        "mcp_call",
        "reasoning",
        "compaction",
        "compaction_summary",
        "compaction_trigger",
        "item_reference",
    }
)
KNOWN_CONTENT: Final = frozenset(
    {"input_text", "output_text", "text", "summary_text", "reasoning_text", "refusal", "input_image", "input_file"}
)
_decode_body: Final = msgspec.json.Decoder(Body)
_decode_echo: Final = msgspec.json.Decoder(Echo)
_decode_items: Final = msgspec.json.Decoder(list[Item])
_decode_item: Final = msgspec.json.Decoder(Item).decode
_decode_content: Final = msgspec.json.Decoder(Content).decode
_decode_any: Final = msgspec.json.Decoder().decode


def read_body(data: bytes) -> Body:
    """The typed body. Raises InvalidRequest, but never for the inside of an item of a kind nobody knows."""
    try:
        return read(_decode_body, data)
    except InvalidRequest:
        tamed = _tamed(data, "input")
        if tamed is None:
            raise
        return read(_decode_body, tamed)


def read_echo(data: bytes) -> Echo:
    return read(_decode_echo, data)


def read_items(data: bytes) -> list[Item]:
    """Items as they were stored. Raises InvalidRequest when they are none."""
    try:
        return read(_decode_items, data)
    except InvalidRequest:
        tamed = _tamed(data, None)
        if tamed is None:
            raise
        return read(_decode_items, tamed)


def _tamed(data: bytes, member: str | None) -> bytes | None:
    """The same JSON with only the plain members of unknown items and parts that do not fit; None if there are none.

    The items stand under `member`, or are the document themselves.
    """
    try:
        document = _decode_any(data)
        items = document if member is None else document[member]
        strange = list(_strange(items))
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError):
        return None
    for value in strange:
        for name in [name for name, inner in value.items() if not isinstance(inner, str)]:
            del value[name]
    return msgspec.json.encode(document) if strange else None


def _strange(items: Any) -> Iterator[dict[str, Any]]:
    """Items and content parts of unknown kind that do not fit their types."""
    for item in items if isinstance(items, list) else ():
        if not isinstance(item, dict):
            continue
        for part in item["content"] if isinstance(item.get("content"), list) else ():
            if isinstance(part, dict) and part.get("type") not in KNOWN_CONTENT and not _fits(part, _decode_content):
                yield part
        kind = item.get("type") or ("message" if item.get("role") else "")
        if kind not in KNOWN_ITEMS and not _fits(item, _decode_item):
            yield item


def _fits(value: dict[str, Any], decode: Callable[[bytes], object]) -> bool:
    try:
        decode(msgspec.json.encode(value))
    except msgspec.ValidationError:
        return False
    return True
