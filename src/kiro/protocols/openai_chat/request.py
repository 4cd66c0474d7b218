"""OpenAI's Chat Completions JSON → Conversation.

Tolerant of what the many clients of this dialect add (keys of other vendors, system messages
anywhere, tools in older and flatter spellings); firm where being tolerant would give another answer
than was asked for: several choices, sound.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from kiro.conversation.messages import (
    AllowedTools,
    AnyTool,
    AutoChoice,
    Conversation,
    Effort,
    NoTools,
    OutputFormat,
    ThinkingWish,
    Tool,
    ToolChoice,
    WebSearch,
)
from kiro.errors import InvalidRequest
from kiro.protocols.base import Ask
from kiro.protocols.openai import session_of
from kiro.protocols.openai_chat import body as wire
from kiro.protocols.openai_chat.messages import MessageReader
from kiro.reading import read

EFFORTS: Final[dict[str, Effort]] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
_FREE_INPUT: Final = msgspec.Raw(
    b'{"type":"object","properties":{"input":{"type":"string","description":"The whole input, as plain text."}},'
    b'"required":["input"]}'
)
_decode_body: Final = msgspec.json.Decoder(wire.Body)


class ChatAsk(Ask, frozen=True):
    """What the answer's shape depends on beside the conversation.

    `custom_tools` take free text and are answered as custom calls; `legacy` clients know one
    `function_call` instead of `tool_calls`.
    """

    include_usage: bool = False
    custom_tools: frozenset[str] = frozenset()
    legacy: bool = False


def parse(
    body: bytes,
    headers: Mapping[str, str],
    path: Mapping[str, str] | None = None,  # noqa: ARG001  this dialect's path says nothing
) -> ChatAsk:
    """The request as a conversation. `headers` are looked up in lower case. Raises InvalidRequest."""
    asked = read(_decode_body, body)
    _refuse_impossible(asked)
    notes: list[str] = []
    legacy = asked.tools is None and (asked.functions is not None or asked.function_call is not None)
    tools, custom, declared_search = _tools(asked, notes)
    search = _web_search(asked) or declared_search
    system, turns = MessageReader(notes).read(asked.messages)
    conversation = Conversation(
        model=asked.model,
        messages=turns,
        system=system,
        tools=tools,
        tool_choice=_legacy_choice(asked.function_call, tools) if legacy else _choice(asked.tool_choice, tools, search),
        parallel_calls=asked.parallel_tool_calls is not False and not legacy,
        thinking=_thinking(asked),
        max_tokens=_max_tokens(asked),
        stop_sequences=tuple(filter(None, [asked.stop] if isinstance(asked.stop, str) else asked.stop or ())),
        output_format=_output_format(asked.response_format),
        web_search=search,
        session=session_of(headers, asked.prompt_cache_key),
    )
    usage = asked.stream_options is not None and bool(asked.stream_options.include_usage)
    return ChatAsk(conversation, bool(asked.stream), tuple(dict.fromkeys(notes)), usage, custom, legacy)


def parse_count(body: bytes, headers: Mapping[str, str], path: Mapping[str, str] | None = None) -> ChatAsk:
    """The same: nothing that counting could do without is required."""
    return parse(body, headers, path)


def _refuse_impossible(asked: wire.Body) -> None:
    if not asked.model.strip():
        raise InvalidRequest("model: must not be empty", param="model")
    if not asked.messages:
        raise InvalidRequest("messages: at least one message is required", param="messages")
    if asked.n is not None and asked.n != 1:
        raise InvalidRequest(
            "n: only one choice is made here.", param="n", code="unsupported_value", hint="Ask several times."
        )
    if asked.modalities and "audio" in asked.modalities:
        raise InvalidRequest("modalities: only text is answered here.", param="modalities", code="unsupported_value")


def _max_tokens(asked: wire.Body) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = getattr(asked, name)
        if value is None:
            continue
        if value < 1:
            raise InvalidRequest(f"{name}: must be greater than or equal to 1", param=name, code="invalid_value")
        return int(value)
    return None


def _tools(asked: wire.Body, notes: list[str]) -> tuple[tuple[Tool, ...], frozenset[str], WebSearch | None]:
    """The client's tools, the names of those that take free text, and a web search if one was declared as a tool."""
    tools: list[Tool] = []
    custom: set[str] = set()
    search: WebSearch | None = None
    for tool in asked.tools or ():
        if tool.custom is not None or tool.type == "custom":
            declared = tool.custom or wire.Custom(tool.name, tool.description)
            tools.append(Tool(declared.name or "", _with_grammar(declared), _FREE_INPUT))
            custom.add(declared.name or "")
        elif tool.type == "function" or wire.given(tool.input_schema) is not None:
            tools.append(_function(tool))
        elif tool.type.startswith("web_search"):
            search = WebSearch()
        else:
            notes.append(f"tool left out: {tool.type} runs on OpenAI's side only")
    if asked.tools is None:
        tools = [
            Tool(one.name or "", one.description or "", wire.given(one.parameters)) for one in asked.functions or ()
        ]
    return tuple(tools), frozenset(custom), search


def _function(tool: wire.Tool) -> Tool:
    if tool.function is not None:
        one = tool.function
        return Tool(one.name or "", one.description or "", wire.given(one.parameters))
    schema = wire.given(tool.parameters) or wire.given(tool.input_schema)
    return Tool(tool.name or "", tool.description or "", schema)


def _with_grammar(tool: wire.Custom) -> str:
    """The description, with the grammar that the input has to follow: Kiro cannot enforce it, the model can read it."""
    description = tool.description or ""
    wanted = tool.format
    if wanted is None or wanted.type != "grammar":
        return description
    inner = wanted.grammar or wire.Grammar(wanted.syntax, wanted.definition)
    rule = f"The input has to follow this {inner.syntax or 'lark'} grammar:\n{inner.definition or ''}"
    return f"{description}\n\n{rule}" if description else rule


def _choice(given: str | wire.ToolChoice | None, tools: tuple[Tool, ...], search: WebSearch | None) -> ToolChoice:
    kind = given if isinstance(given, str) else "auto" if given is None else given.type
    match kind:
        case "auto":
            return AutoChoice()
        case "none":
            return NoTools()
        case "required" | "any":
            return AnyTool()
        case "allowed_tools" if isinstance(given, wire.ToolChoice):
            allowed = given.allowed_tools or wire.Allowed()
            names = tuple(_declared(tool.called, tools) for tool in allowed.tools or ())
            return AnyTool(names) if allowed.mode == "required" else AllowedTools(names)
        case _ if isinstance(given, wire.ToolChoice):
            if search is not None and kind.startswith("web_search"):
                return AnyTool((search.name,))
            return AnyTool((_declared(given.called, tools),))
        case _:
            raise InvalidRequest(
                f"tool_choice: {kind!r} is none of none, auto, required", param="tool_choice", code="invalid_value"
            )


def _legacy_choice(given: str | wire.Named | None, tools: tuple[Tool, ...]) -> ToolChoice:
    if isinstance(given, wire.Named):
        return AnyTool((_declared(given.name or "", tools, param="function_call"),))
    return NoTools() if given == "none" else AutoChoice()


def _declared(name: str, tools: tuple[Tool, ...], *, param: str = "tool_choice") -> str:
    if name not in {tool.name for tool in tools}:
        raise InvalidRequest(f"{param}: the tool {name!r} is not among the tools.", param=param, code="invalid_value")
    return name


def _thinking(asked: wire.Body) -> ThinkingWish:
    """The wish, in whichever of its spellings the client uses. An effort is a wish for thinking."""
    router = asked.reasoning or wire.Reasoning()
    said = asked.reasoning_effort or router.effort
    effort = EFFORTS.get(said or "")
    if said == "none" or asked.enable_thinking is False or router.enabled is False:
        return ThinkingWish("off")
    if asked.thinking is not None:
        match asked.thinking.type:
            case "disabled":
                return ThinkingWish("off")
            case "adaptive":
                return ThinkingWish("adaptive", asked.thinking.budget_tokens, effort)
            case _:
                return ThinkingWish("on", asked.thinking.budget_tokens, effort)
    if effort is not None or asked.enable_thinking or router.enabled or router.max_tokens:
        return ThinkingWish("on", router.max_tokens, effort)
    return ThinkingWish()


def _output_format(wanted: wire.ResponseFormat | None) -> OutputFormat | None:
    match wanted:
        case wire.ResponseFormat(type="json_object"):
            return OutputFormat(None)
        case wire.ResponseFormat(type="json_schema", json_schema=schema):
            return OutputFormat(None if schema is None else wire.given(schema.schema))
        case _:
            return None


def _web_search(asked: wire.Body) -> WebSearch | None:
    options = asked.web_search_options
    if options is None:
        return None
    allowed = options.filters.allowed_domains if options.filters is not None else None
    return WebSearch(allowed_domains=tuple(allowed or ()))
