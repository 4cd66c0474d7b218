"""The Messages request as clients send it: wide, tolerant types.

One wide `Block` serves every kind of content block: unknown kinds are legal (they become a line of
text), unknown members are skipped, and what nobody looks into (a tool's input, its schema) stays raw
bytes of the client's own body.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from kiro.errors import InvalidRequest
from kiro.reading import read

NOTHING: Final = msgspec.Raw()
"""Stands for an absent raw member: `Raw` cannot be part of a union."""


def given(raw: msgspec.Raw) -> msgspec.Raw | None:
    """The raw JSON, or None where it is absent or null."""
    return None if bytes(raw) in (b"", b"null") else raw


class Source(msgspec.Struct, gc=False):
    """Where the bytes of an image or document are. `content` is for documents made of blocks."""

    type: str = ""
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: "str | list[Block] | None" = None


class Block(msgspec.Struct, gc=False):
    """Any content block. Which members count depends on `type`."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = NOTHING
    tool_use_id: str | None = None
    content: "str | list[Block | str] | Block | None" = None
    is_error: bool | None = None
    source: Source | str | None = None
    title: str | None = None
    context: str | None = None
    url: str | None = None
    tool_name: str | None = None
    file_id: str | None = None
    error_code: str | None = None
    encrypted_content: str | None = None
    stdout: str | None = None
    stderr: str | None = None


class Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[Block | str] | None = None


class Tool(msgspec.Struct, gc=False):
    """`type` is absent or `custom` for the client's own tools, else the name of one of Anthropic's."""

    type: str | None = None
    name: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw = NOTHING
    max_uses: int | None = None
    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None


class ToolChoice(msgspec.Struct, gc=False):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct, gc=False):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class Format(msgspec.Struct, gc=False):
    type: str | None = None
    schema: msgspec.Raw = NOTHING


class OutputConfig(msgspec.Struct, gc=False):
    effort: str | None = None
    format: Format | None = None


class Metadata(msgspec.Struct, gc=False):
    user_id: str | None = None


class Body(msgspec.Struct, gc=False):
    model: str
    messages: list[Message]
    max_tokens: int | float | None = None
    system: str | list[Block | str] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    metadata: Metadata | None = None
    thread: Any = None
    mcp_servers: list[msgspec.Raw] | None = None


KNOWN_BLOCKS: Final = frozenset(
    {
        "text",
        "image",
        "document",
        "search_result",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "tool_result",
        "tool_reference",
        "server_tool_use",
        "mcp_tool_use",
    }
)
_decode_body: Final = msgspec.json.Decoder(Body)
_decode_block: Final = msgspec.json.Decoder(Block).decode


def read_body(data: bytes) -> Body:
    """The typed body. Raises InvalidRequest, but never for the inside of a block of a kind nobody knows."""
    try:
        return read(_decode_body, data)
    except InvalidRequest:
        tamed = _tamed(data)
        if tamed is None:
            raise
        return read(_decode_body, tamed)


def _tamed(data: bytes) -> bytes | None:
    """The body with only the plain members of unknown blocks that do not fit, or None if there are none."""
    try:
        document = msgspec.json.decode(data)
        strange = [block for message in document["messages"] for block in _strange_blocks(message["content"])]
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError):
        return None
    for block in strange:
        for name in [name for name, value in block.items() if name == "input" or not isinstance(value, str)]:
            del block[name]
        block.setdefault("type", "")
        block.pop("source", None)
    return msgspec.json.encode(document) if strange else None


def _strange_blocks(content: Any) -> Iterator[dict[str, Any]]:
    """Blocks of unknown kind that are no `Block`, also those inside tool results."""
    for block in content if isinstance(content, list) else ():
        if not isinstance(block, dict):
            continue
        if block.get("type") in KNOWN_BLOCKS:
            yield from _strange_blocks(block.get("content"))
        elif not _fits(block):
            yield block


def _fits(block: dict[str, Any]) -> bool:
    try:
        _decode_block(msgspec.json.encode(block))
    except msgspec.ValidationError:
        return False
    return True
