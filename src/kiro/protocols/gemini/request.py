"""Gemini's generateContent JSON → Conversation.

The model and what to do with it stand in the path, and `alt=sse` in the query, so `path` brings
those: `model`, `verb` (`generateContent`, `streamGenerateContent`, `countTokens`) and `alt`.
"""

from collections.abc import Mapping, Sequence
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
from kiro.errors import InvalidRequest, UnknownRoute
from kiro.protocols.base import Ask
from kiro.protocols.gemini import body as wire
from kiro.protocols.gemini.body import either, given, has_any
from kiro.protocols.gemini.contents import ContentReader, parts_of
from kiro.protocols.gemini.schemas import json_schema
from kiro.reading import read

STREAM: Final = "streamGenerateContent"
_VERBS: Final = ("generateContent", STREAM, "countTokens")
_LEVELS: Final[dict[str, Effort]] = {"MINIMAL": "low", "LOW": "low", "MEDIUM": "medium", "HIGH": "high"}
_SESSION_HEADERS: Final = ("x-session-affinity", "x-session-id", "session_id", "session-id")
_decode_body: Final = msgspec.json.Decoder(wire.Body)


class GeminiAsk(Ask, frozen=True):
    """What the answer's shape depends on beside the conversation.

    `sse`: the stream is a series of server-sent events; else it is one JSON array. `thoughts`: the
    client wants to see the thinking.
    """

    sse: bool = True
    thoughts: bool = False

    @property
    def shows_thoughts(self) -> bool:
        """`thoughts`, or thinking that was asked for in some other way, such as the model's name."""
        wish = self.conversation.thinking
        return self.thoughts or (wish.show and wish.mode in ("on", "adaptive"))


def parse(body: bytes, headers: Mapping[str, str], path: Mapping[str, str] | None = None) -> GeminiAsk:
    """The request as a conversation. `headers` are looked up in lower case. Raises InvalidRequest, UnknownRoute."""
    return _parse(body, headers, path or {}, counting=False)


def parse_count(body: bytes, headers: Mapping[str, str], path: Mapping[str, str] | None = None) -> GeminiAsk:
    """The same for `countTokens`, whose body may hold a whole request in `generateContentRequest`."""
    return _parse(body, headers, path or {}, counting=True)


def _parse(body: bytes, headers: Mapping[str, str], path: Mapping[str, str], *, counting: bool) -> GeminiAsk:
    asked = read(_decode_body, body)
    if counting:
        asked = either(asked.generateContentRequest, asked.generate_content_request) or asked
    verb = path.get("verb", "generateContent")
    if verb not in _VERBS:
        raise UnknownRoute(f"{verb} is not served here.", hint=f"Served are {', '.join(_VERBS)}.")
    config = either(asked.generationConfig, asked.generation_config) or wire.GenerationConfig()
    _refuse_impossible(asked, config)
    model = (path.get("model") or asked.model or "").removeprefix("models/")
    if not model.strip():
        raise InvalidRequest("model: must not be empty", param="model")
    notes: list[str] = []
    turns = ContentReader(notes).read(asked.contents or [])
    if not turns and not counting:
        raise InvalidRequest("contents: at least one content is required", param="contents")
    tools, search = _tools([asked.tools] if isinstance(asked.tools, wire.Tool) else asked.tools or (), notes)
    wish, thoughts = _thinking(either(config.thinkingConfig, config.thinking_config))
    conversation = Conversation(
        model=model,
        messages=turns,
        system=_system(asked.systemInstruction) or _system(asked.system_instruction),
        tools=tools,
        tool_choice=_choice(either(asked.toolConfig, asked.tool_config), tools),
        thinking=wish,
        max_tokens=either(config.maxOutputTokens, config.max_output_tokens),
        stop_sequences=tuple(filter(None, either(config.stopSequences, config.stop_sequences) or ())),
        output_format=_output_format(config),
        web_search=search,
        session=next((value for name in _SESSION_HEADERS if (value := headers.get(name))), None),
    )
    sse = path.get("alt") == "sse"
    return GeminiAsk(conversation, verb == STREAM, tuple(dict.fromkeys(notes)), sse, thoughts)


def _refuse_impossible(asked: wire.Body, config: wire.GenerationConfig) -> None:
    if cached := either(asked.cachedContent, asked.cached_content):
        raise UnknownRoute(
            f"{cached} is not found: nothing is cached here.", hint="Send the whole conversation in contents."
        )
    if (either(config.candidateCount, config.candidate_count) or 1) != 1:
        where = "generationConfig.candidateCount"
        raise InvalidRequest(f"{where}: only one candidate is made here.", param=where, hint="Ask several times.")
    limit = either(config.maxOutputTokens, config.max_output_tokens)
    if limit is not None and limit < 1:
        where = "generationConfig.maxOutputTokens"
        raise InvalidRequest(f"{where}: must be greater than or equal to 1", param=where)
    wanted = either(config.responseModalities, config.response_modalities) or ()
    if any(modality.upper() not in ("TEXT", "MODALITY_UNSPECIFIED") for modality in wanted):
        where = "generationConfig.responseModalities"
        raise InvalidRequest(f"{where}: only text is answered here.", param=where)


def _system(given_: wire.Content | str | list[wire.Content | str] | None) -> tuple[str, ...]:
    if given_ is None:
        return ()
    texts: list[str] = []
    for one in given_ if isinstance(given_, list) else [given_]:
        texts += [one] if isinstance(one, str) else [part.text or "" for part in parts_of(one)]
    return tuple(filter(None, texts))


def _tools(given_: Sequence[wire.Tool], notes: list[str]) -> tuple[tuple[Tool, ...], WebSearch | None]:
    """The client's functions, and the web search if it asked for Google's. Other tools of Google's are left out."""
    tools: list[Tool] = []
    search: WebSearch | None = None
    for tool in given_:
        for one in either(tool.functionDeclarations, tool.function_declarations) or ():
            schema = given(one.parametersJsonSchema, one.parameters_json_schema, one.parameters)
            tools.append(Tool(one.name, one.description or "", schema))
        wanted = either(tool.googleSearch, tool.google_search)
        wanted = either(wanted, either(tool.googleSearchRetrieval, tool.google_search_retrieval))
        wanted = either(wanted, either(tool.enterpriseWebSearch, tool.enterprise_web_search))
        if wanted is not None:
            blocked = either(wanted.excludeDomains, wanted.exclude_domains) or ()
            search = WebSearch(blocked_domains=tuple(blocked))
        for name, spellings in (
            ("urlContext", (tool.urlContext, tool.url_context)),
            ("codeExecution", (tool.codeExecution, tool.code_execution)),
            ("computerUse", (tool.computerUse, tool.computer_use)),
            ("googleMaps", (tool.googleMaps, tool.google_maps)),
            ("fileSearch", (tool.fileSearch, tool.file_search)),
        ):
            if has_any(*spellings):
                notes.append(f"tool left out: {name} runs on Google's side only")
    return tuple(tools), search


def _choice(config: wire.ToolConfig | None, tools: tuple[Tool, ...]) -> ToolChoice:
    calling = either(config.functionCallingConfig, config.function_calling_config) if config is not None else None
    if calling is None:
        return AutoChoice()
    names = tuple(either(calling.allowedFunctionNames, calling.allowed_function_names) or ())
    declared = {tool.name for tool in tools}
    for name in names:
        if name not in declared:
            where = "toolConfig.functionCallingConfig.allowedFunctionNames"
            raise InvalidRequest(f"{where}: the function {name!r} is not declared.", param=where)
    match (calling.mode or "AUTO").upper():
        case "NONE":
            return NoTools()
        case "ANY":
            return AnyTool(names)
        case _:
            return AllowedTools(names) if names else AutoChoice()


def _thinking(config: wire.ThinkingConfig | None) -> tuple[ThinkingWish, bool]:
    """The wish, and whether the thoughts are to be seen. A budget of 0 is off, of -1 the model's own decision."""
    if config is None:
        return ThinkingWish(), False
    thoughts = bool(either(config.includeThoughts, config.include_thoughts))
    budget = either(config.thinkingBudget, config.thinking_budget)
    effort = _LEVELS.get((either(config.thinkingLevel, config.thinking_level) or "").upper())
    if budget == 0:
        return ThinkingWish("off"), False
    if budget is not None and budget > 0:
        return ThinkingWish("on", budget, effort, thoughts), thoughts
    if effort is not None:
        return ThinkingWish("on", None, effort, thoughts), thoughts
    if budget is not None or thoughts:
        return ThinkingWish("adaptive", None, None, thoughts), thoughts
    return ThinkingWish(), False


def _output_format(config: wire.GenerationConfig) -> OutputFormat | None:
    kind = either(config.responseMimeType, config.response_mime_type)
    schema = given(
        config.responseJsonSchema, config.response_json_schema, config.responseSchema, config.response_schema
    )
    if schema is None:
        return OutputFormat(None) if kind == "application/json" else None
    return OutputFormat(json_schema(schema), unquoted=kind == "text/x.enum")
