"""One conversation as every dialect means it.

Values are `msgspec.Struct`s: frozen like a frozen dataclass, five times cheaper to make, and a
tool's JSON (schema, call input) may stay the raw bytes the client sent, so it is never decoded
unless somebody has to look inside.
"""

from typing import Literal, TypeAlias

import msgspec

Role = Literal["user", "assistant", "system"]


class Text(msgspec.Struct, frozen=True):
    text: str


class Image(msgspec.Struct, frozen=True):
    """`data` is base64 without a `data:` prefix; `media_type` is what the client claims."""

    data: str
    media_type: str


class ImageLink(msgspec.Struct, frozen=True):
    """An image the client gave by http(s) address; fetched before the request is built."""

    url: str


class Document(msgspec.Struct, frozen=True):
    """A document as plain text."""

    title: str | None
    text: str


class DocumentFile(msgspec.Struct, frozen=True):
    """A document as a file; `data` is base64. Turned into a Document before the request is built."""

    title: str | None
    media_type: str
    data: str


class DocumentLink(msgspec.Struct, frozen=True):
    """A document by http(s) address."""

    title: str | None
    url: str


class Thinking(msgspec.Struct, frozen=True):
    """`signature` is the dialect's text: our envelope (upstream.thinking) or somebody else's."""

    text: str
    signature: str | None


class RedactedThinking(msgspec.Struct, frozen=True):
    data: str


class ToolCall(msgspec.Struct, frozen=True):
    """`input` is the raw JSON of the arguments, normally an object."""

    id: str
    name: str
    input: msgspec.Raw


class ToolResult(msgspec.Struct, frozen=True):
    """What a tool answered: text, JSON (as Text), images, documents, in order."""

    call_id: str
    parts: "tuple[Part, ...]"
    is_error: bool = False
    name: str | None = None
    """The tool's name where a dialect pairs results by name (Gemini, legacy functions)."""


Part: TypeAlias = (
    Text
    | Image
    | ImageLink
    | Document
    | DocumentFile
    | DocumentLink
    | Thinking
    | RedactedThinking
    | ToolCall
    | ToolResult
)


class Message(msgspec.Struct, frozen=True):
    role: Role
    parts: tuple[Part, ...]


class Tool(msgspec.Struct, frozen=True):
    """A function the client offers. `schema` is the raw JSON Schema of its input, `None` if it has none."""

    name: str
    description: str
    schema: msgspec.Raw | None


class WebSearch(msgspec.Struct, frozen=True):
    """The client asked for web search to be done here, not by a tool of its own."""

    name: str = "web_search"
    max_uses: int | None = None
    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()


class AutoChoice(msgspec.Struct, frozen=True):
    """The model decides whether to call a tool."""


class NoTools(msgspec.Struct, frozen=True):
    """No tool may be called."""


class AnyTool(msgspec.Struct, frozen=True):
    """Some tool has to be called; `names` limits which, empty means any."""

    names: tuple[str, ...] = ()


class AllowedTools(msgspec.Struct, frozen=True):
    """The model decides, among these."""

    names: tuple[str, ...]


ToolChoice: TypeAlias = AutoChoice | NoTools | AnyTool | AllowedTools

Effort = Literal["low", "medium", "high", "xhigh", "max"]


class ThinkingWish(msgspec.Struct, frozen=True):
    """What the client says about thinking.

    `mode`: `None` = nothing said, `on` = wanted, `adaptive` = the model decides, `off` = not wanted.
    `budget` in tokens. `show` is False when the client wants signatures only (`display: omitted`).
    """

    mode: Literal["on", "adaptive", "off"] | None = None
    budget: int | None = None
    effort: Effort | None = None
    show: bool = True


class OutputFormat(msgspec.Struct, frozen=True):
    """The answer has to be JSON; `schema` is a raw JSON Schema, `None` for any JSON object.

    `unquoted`: it is one string, and is given without its quotes.
    """

    schema: msgspec.Raw | None
    unquoted: bool = False


class Conversation(msgspec.Struct, frozen=True):
    """Everything a client asked for, in no dialect.

    `model` is the client's spelling. `system` are the system texts before the first turn, in
    order. `session` is a stable key of the client's session, if it gave one. `max_tokens` limits
    the answer.
    """

    model: str
    messages: tuple[Message, ...]
    system: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = AutoChoice()
    parallel_calls: bool = True
    thinking: ThinkingWish = ThinkingWish()
    max_tokens: int | None = None
    stop_sequences: tuple[str, ...] = ()
    output_format: OutputFormat | None = None
    web_search: WebSearch | None = None
    session: str | None = None
