"""Anthropic's Messages JSON → Conversation.

Tolerant where real clients are odd (system messages anywhere, unknown blocks, server tools in the
history, empty signatures), and firm where being tolerant would lose something in silence: a `thread`
(the conversation lives elsewhere), MCP servers and uploaded files are refused by name.
"""

import re
from collections.abc import Mapping
from typing import Final, get_args

import msgspec

from kiro.conversation.messages import (
    AnyTool,
    AutoChoice,
    Conversation,
    Effort,
    NoTools,
    OutputFormat,
    Part,
    Role,
    Text,
    ThinkingWish,
    Tool,
    ToolChoice,
    WebSearch,
)
from kiro.conversation.messages import Message as Turn
from kiro.errors import InvalidRequest
from kiro.protocols.anthropic import body as wire
from kiro.protocols.anthropic.blocks import BlockReader
from kiro.protocols.anthropic.client_tools import client_tool
from kiro.protocols.base import Ask

_BILLING: Final = "x-anthropic-billing-header:"
_ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system"}
_EFFORTS: Final = frozenset(get_args(Effort))
_SESSION_HEADERS: Final = ("x-claude-code-session-id", "x-session-affinity", "session_id", "session-id", "thread-id")
_SESSION_TAIL: Final = re.compile(r"_session_([0-9a-fA-F-]{36})$")


class _SessionOfUser(msgspec.Struct):
    session_id: str | None = None


_decode_user: Final = msgspec.json.Decoder(_SessionOfUser).decode


def parse(
    body: bytes,
    headers: Mapping[str, str],
    path: Mapping[str, str] | None = None,  # noqa: ARG001  this dialect's path says nothing
) -> Ask:
    """The request as a conversation. `headers` are looked up in lower case. Raises InvalidRequest."""
    return _parse(body, headers, counting=False)


def parse_count(
    body: bytes,
    headers: Mapping[str, str],
    path: Mapping[str, str] | None = None,  # noqa: ARG001  as in parse
) -> Ask:
    """The same for `count_tokens`, which has no `max_tokens`."""
    return _parse(body, headers, counting=True)


def _parse(body: bytes, headers: Mapping[str, str], *, counting: bool) -> Ask:
    asked = wire.read_body(body)
    _refuse_impossible(asked, counting=counting)
    notes: list[str] = []
    tools, search = _tools(asked.tools or (), notes)
    choice, parallel = _tool_choice(asked.tool_choice, tools, search)
    reader = BlockReader(notes)
    conversation = Conversation(
        model=asked.model,
        messages=_turns(asked.messages, reader),
        system=_system(asked.system),
        tools=tools,
        tool_choice=choice,
        parallel_calls=parallel,
        thinking=_thinking(asked),
        max_tokens=None if asked.max_tokens is None else int(asked.max_tokens),
        stop_sequences=tuple(filter(None, asked.stop_sequences or ())),
        output_format=_output_format(asked),
        web_search=search,
        session=_session(asked, headers),
    )
    return Ask(conversation, bool(asked.stream), tuple(dict.fromkeys(notes)))


def _refuse_impossible(asked: wire.Body, *, counting: bool) -> None:
    if asked.thread is not None:
        raise InvalidRequest(
            "thread: continuing a stored thread is not supported; send the whole conversation in messages.",
            param="thread",
            code="thread_unsupported_request",
        )
    if asked.mcp_servers:
        raise InvalidRequest(
            "mcp_servers: remote MCP servers are not supported here.",
            param="mcp_servers",
            hint="Connect the MCP server to the client; its tools then work as the client's own.",
        )
    if not asked.model.strip():
        raise InvalidRequest("model: must not be empty", param="model")
    if not asked.messages:
        raise InvalidRequest("messages: at least one message is required", param="messages")
    if asked.max_tokens is None:
        if not counting:
            raise InvalidRequest("max_tokens: Field required", param="max_tokens")
    elif asked.max_tokens < 1:
        raise InvalidRequest("max_tokens: must be greater than or equal to 1", param="max_tokens")
    for name, value in (("temperature", asked.temperature), ("top_p", asked.top_p)):
        if value is not None and not 0 <= value <= 1:
            raise InvalidRequest(f"{name}: must be between 0 and 1", param=name)


def _system(given: str | list[wire.Block | str] | None) -> tuple[str, ...]:
    """The system texts, without Claude Code's billing line: it changes with each request and spoils prompt caching."""
    if not given:
        return ()
    blocks = [given] if isinstance(given, str) else [b if isinstance(b, str) else b.text or "" for b in given]
    if blocks[0].lstrip().startswith(_BILLING):
        lines = blocks[0].splitlines(keepends=True)
        blocks[0] = "".join(line for line in lines if not line.lstrip().startswith(_BILLING)).lstrip("\n")
    return tuple(text for text in blocks if text)


def _turns(messages: list[wire.Message], reader: BlockReader) -> tuple[Turn, ...]:
    turns: list[Turn] = []
    for place, message in enumerate(messages):
        content = message.content
        parts: tuple[Part, ...]
        if isinstance(content, str):
            parts = (Text(content),) if content else ()
        elif content is None:
            parts = ()
        else:
            parts = reader.read(content, place)
        turns.append(Turn(_ROLES.get(message.role, "user"), parts))
    return tuple(turns)


def _tools(given: "list[wire.Tool] | tuple[()]", notes: list[str]) -> tuple[tuple[Tool, ...], WebSearch | None]:
    """The client's tools, and the web search if it asked for Anthropic's. Others that run at Anthropic are left out."""
    tools: list[Tool] = []
    search: WebSearch | None = None
    for tool in given:
        kind = tool.type or "custom"
        if kind == "custom":
            tools.append(Tool(tool.name or "", tool.description or "", wire.given(tool.input_schema)))
        elif kind.startswith("web_search"):
            search = WebSearch(
                tool.name or "web_search",
                tool.max_uses,
                tuple(tool.allowed_domains or ()),
                tuple(tool.blocked_domains or ()),
            )
        elif wire.given(tool.input_schema) is not None:
            # A type of its own, but described like any other tool: the client runs it.
            tools.append(Tool(tool.name or kind, tool.description or "", wire.given(tool.input_schema)))
        elif (known := client_tool(kind, tool.name)) is not None:
            tools.append(known)
        else:
            notes.append(f"tool left out: {kind} runs on Anthropic's side only")
    return tuple(tools), search


def _tool_choice(
    given: wire.ToolChoice | None, tools: tuple[Tool, ...], search: WebSearch | None
) -> tuple[ToolChoice, bool]:
    """The choice, and whether parallel calls are allowed."""
    if given is None:
        return AutoChoice(), True
    parallel = not given.disable_parallel_tool_use
    match given.type:
        case "auto":
            return AutoChoice(), parallel
        case "none":
            return NoTools(), parallel
        case "any":
            return AnyTool(), parallel
        case "tool":
            if not given.name:
                raise InvalidRequest("tool_choice.name: Field required", param="tool_choice.name")
            if given.name not in {tool.name for tool in tools} and (search is None or search.name != given.name):
                raise InvalidRequest(
                    f"tool_choice: Tool '{given.name}' not found in provided tools", param="tool_choice.name"
                )
            return AnyTool((given.name,)), parallel
        case other:
            raise InvalidRequest(
                f"tool_choice.type: {other!r} is none of auto, any, tool, none", param="tool_choice.type"
            )


def _thinking(asked: wire.Body) -> ThinkingWish:
    said = asked.output_config.effort if asked.output_config is not None else None
    effort: Effort | None = said if said in _EFFORTS else None  # type: ignore[assignment]  # checked by membership
    wish = asked.thinking
    if wish is None:
        return ThinkingWish(effort=effort) if effort else ThinkingWish()
    show = wish.display != "omitted"
    match wish.type:
        case "enabled":
            return ThinkingWish("on", wish.budget_tokens, effort, show)
        case "disabled":
            return ThinkingWish("off", None, effort, show)
        case _:
            return ThinkingWish("adaptive", wish.budget_tokens, effort, show)


def _output_format(asked: wire.Body) -> OutputFormat | None:
    """`output_config.format`, or `output_format` of the older beta."""
    wanted = (asked.output_config.format if asked.output_config is not None else None) or asked.output_format
    if wanted is None or wanted.type not in ("json_schema", "json_object"):
        return None
    return OutputFormat(wire.given(wanted.schema))


def _session(asked: wire.Body, headers: Mapping[str, str]) -> str | None:
    """The client's session: a header, else what `metadata.user_id` holds (JSON, or `…_session_<uuid>`)."""
    for name in _SESSION_HEADERS:
        value = headers.get(name)
        if value:
            return value
    user = asked.metadata.user_id if asked.metadata is not None else None
    if not user:
        return None
    if user.startswith("{"):
        try:
            return _decode_user(user).session_id
        except msgspec.DecodeError:
            return None
    found = _SESSION_TAIL.search(user)
    return found.group(1) if found else None
