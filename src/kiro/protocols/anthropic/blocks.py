"""Anthropic's content blocks → parts of a message.

Text, pictures, documents, thinking, calls and results have parts of their own. What only Anthropic's
own servers produce (their searches, code runs, MCP calls) comes back from clients as history; it is
told as text, so the model remembers what it found. A block of a kind nobody knows becomes a line that
names it; it is never an error.
"""

from typing import Final

import msgspec

from kiro.conversation.messages import (
    Document,
    DocumentFile,
    DocumentLink,
    Image,
    ImageLink,
    Part,
    RedactedThinking,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from kiro.errors import InvalidRequest
from kiro.protocols.anthropic.body import Block, Source, given

MAX_DOCUMENT_CHARS: Final = 200_000
_NO_INPUT: Final = msgspec.Raw(b"{}")

Content = str | list[Block | str] | Block | None


class BlockReader:
    """Reads the blocks of one request. `notes` collects what had to be told in other words."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    def read(self, blocks: list[Block | str], place: int) -> tuple[Part, ...]:
        """The parts of message number `place`. Raises InvalidRequest for uploaded files."""
        parts: list[Part] = []
        for at, block in enumerate(blocks):
            if isinstance(block, str):
                parts.append(Text(block))
            elif block.type == "text":
                if block.text:
                    parts.append(Text(block.text))
            else:
                parts += self._part(block, place, at)
        return tuple(parts)

    def _part(self, block: Block, place: int, at: int) -> list[Part]:
        match block.type:
            case "tool_use":
                return [ToolCall(block.id or "", block.name or "", given(block.input) or _NO_INPUT)]
            case "tool_result":
                return [self._result(block, place, at)]
            case "thinking":
                return [Thinking(block.thinking or "", block.signature or None)]
            case "redacted_thinking":
                return [RedactedThinking(block.data or "")]
            case "image":
                return [_image(block, place, at)]
            case "document":
                return self._document(block, place, at)
            case "search_result":
                return [_search_result(block)]
            case "tool_reference":
                return [Text(f"tool_reference: {block.tool_name or block.name or ''}")]
            case "server_tool_use" | "mcp_tool_use":
                return [Text(_server_call(block))]
            case kind if kind.endswith("_tool_result"):
                return [Text(_server_result(block))]
            case _:
                return [self._unknown(block)]

    def _result(self, block: Block, place: int, at: int) -> ToolResult:
        content = block.content
        parts: tuple[Part, ...]
        if isinstance(content, str):
            parts = (Text(content),) if content else ()
        elif isinstance(content, Block):
            parts = self.read([content], place)
        else:
            parts = self.read(content, place) if content else ()
        return ToolResult(block.tool_use_id or "", parts, bool(block.is_error))

    def _document(self, block: Block, place: int, at: int) -> list[Part]:
        source = block.source
        if not isinstance(source, Source):
            return [self._unknown(block)]
        title = block.title
        match source.type:
            case "text":
                return [Document(title, _clipped(_with_context(block, source.data or "")))]
            case "content":
                inner = source.content
                blocks: list[Block | str] = [inner] if isinstance(inner, str) else list(inner or ())
                parts = self.read(blocks, place)
                text = "\n".join(part.text for part in parts if isinstance(part, Text))
                others = [part for part in parts if not isinstance(part, Text)]
                return [Document(title, _clipped(_with_context(block, text))), *others]
            case "url":
                return [DocumentLink(title, source.url or "")]
            case "base64":
                return [DocumentFile(title, source.media_type or "application/pdf", source.data or "")]
            case "file":
                raise _no_files(place, at)
            case _:
                return [self._unknown(block)]

    def _unknown(self, block: Block) -> Text:
        """A line that names the block, with its text if it has any."""
        name = block.id or block.file_id or block.name or block.tool_use_id or block.title or ""
        label = f"[{block.type or 'block'}{': ' if name else ''}{name}]"
        self._notes.append(f"content block told as text: {block.type or 'no type'}")
        return Text(f"{label} {block.text}" if block.text else label)


def _no_files(place: int, at: int) -> InvalidRequest:
    where = f"messages[{place}].content[{at}].source"
    return InvalidRequest(
        f"{where}: files uploaded to Anthropic cannot be reached from here.",
        param=where,
        hint="Send the file in the request, as base64.",
    )


def _image(block: Block, place: int, at: int) -> Part:
    source = block.source
    if not isinstance(source, Source):
        return Text("[image without a source]")
    if source.type == "file":
        raise _no_files(place, at)
    if source.url:
        return _image_by_url(source.url)
    return Image(source.data or "", source.media_type or "")


def _image_by_url(url: str) -> Part:
    if not url.startswith("data:"):
        return ImageLink(url)
    head, _, data = url.partition(",")
    return Image(data, head.removeprefix("data:").partition(";")[0])


def _with_context(block: Block, text: str) -> str:
    return f"{block.context}\n\n{text}" if block.context else text


def _clipped(text: str) -> str:
    if len(text) <= MAX_DOCUMENT_CHARS:
        return text
    return f"{text[:MAX_DOCUMENT_CHARS]}\n[{len(text) - MAX_DOCUMENT_CHARS} more characters left out]"


def _search_result(block: Block) -> Document:
    source = block.source if isinstance(block.source, str) else block.url or ""
    title = f"{block.title or 'search result'} - {source}" if source else block.title
    return Document(title, _text_of(block.content))


def _server_call(block: Block) -> str:
    said = bytes(block.input).decode("utf-8", "replace")
    return f"({block.name or block.type} was called with {said or 'no input'})"


def _server_result(block: Block) -> str:
    """What a tool on Anthropic's side gave, as the model may remember it."""
    kind = block.type.removesuffix("_tool_result").replace("_", " ")
    return f"(Result of {kind}:\n{_text_of(block.content) or 'nothing'}\n)"


def _text_of(content: Content) -> str:
    """The readable text of any content, one line per search hit."""
    if content is None or isinstance(content, str):
        return content or ""
    blocks = [content] if isinstance(content, Block) else content
    return "\n".join(filter(None, (_line_of(block) for block in blocks)))


def _line_of(block: Block | str) -> str:
    if isinstance(block, str):
        return block
    if block.error_code:
        return f"error: {block.error_code}"
    if block.tool_name:
        return f"tool_reference: {block.tool_name}"
    said = [block.text, block.title, block.url, block.stdout, block.stderr, _text_of(block.content)]
    if block.encrypted_content and " " in block.encrypted_content:
        said.append(block.encrypted_content)  # a snippet of our own search; Anthropic's are opaque and have no spaces
    if isinstance(block.source, Source):
        said.append(block.source.data if block.source.type == "text" else None)
    return " - ".join(filter(None, said))
