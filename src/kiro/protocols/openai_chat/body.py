"""The Chat Completions request as clients send it: wide, tolerant types.

Unknown members are skipped, so the many extensions (`cache_control`, sampling settings of other
vendors) cost nothing. Members that nobody reads here are not named at all: a wrong type in them must
not stop a request.
"""

from typing import Any, Final

import msgspec

NOTHING: Final = msgspec.Raw()
"""Stands for an absent raw member: `Raw` cannot be part of a union."""


def given(raw: msgspec.Raw) -> msgspec.Raw | None:
    """The raw JSON, or None where it is absent or null."""
    return None if bytes(raw) in (b"", b"null") else raw


class ImageUrl(msgspec.Struct, gc=False):
    url: str = ""


class File(msgspec.Struct, gc=False):
    """`file_data` is a data address, or bare base64."""

    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None


class Part(msgspec.Struct, gc=False):
    """Any content part. Which members count depends on `type`."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | str | None = None
    file: File | None = None


class Called(msgspec.Struct, gc=False):
    """The function of a call. `arguments` is JSON as text; some clients send the object itself."""

    name: str = ""
    arguments: str | dict[str, Any] | None = None


class CustomCalled(msgspec.Struct, gc=False):
    name: str = ""
    input: str | None = None


class Call(msgspec.Struct, gc=False):
    id: str | None = None
    function: Called | None = None
    custom: CustomCalled | None = None


class ReasoningDetail(msgspec.Struct, gc=False):
    """A block of thinking with its signature, or (`data`) one that only its maker can read."""

    text: str | None = None
    signature: str | None = None
    data: str | None = None


class Message(msgspec.Struct, gc=False):
    """`is_error` is no word of OpenAI's: clients that speak several dialects add it to the result of a tool that failed."""

    role: str
    content: str | list[Part | str] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Called | None = None
    tool_call_id: str | None = None
    is_error: bool | None = None
    reasoning_details: list[ReasoningDetail] | None = None


class Grammar(msgspec.Struct, gc=False):
    syntax: str | None = None
    definition: str | None = None


class CustomFormat(msgspec.Struct, gc=False):
    """`grammar` is an object in Chat; its members stand directly here in the other dialect of OpenAI."""

    type: str = "text"
    grammar: Grammar | None = None
    syntax: str | None = None
    definition: str | None = None


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = NOTHING


class Custom(msgspec.Struct, gc=False):
    name: str | None = None
    description: str | None = None
    format: CustomFormat | None = None


class Tool(msgspec.Struct, gc=False):
    """A tool. Some clients write the function's members directly into it."""

    type: str = "function"
    function: Function | None = None
    custom: Custom | None = None
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = NOTHING
    input_schema: msgspec.Raw = NOTHING


class Named(msgspec.Struct, gc=False):
    name: str | None = None


class NamedTool(msgspec.Struct, gc=False):
    """A tool by name, as choices name it."""

    type: str = "function"
    function: Named | None = None
    custom: Named | None = None
    name: str | None = None

    @property
    def called(self) -> str:
        inner = self.function or self.custom
        return (inner.name if inner is not None else self.name) or ""


class Allowed(msgspec.Struct, gc=False):
    mode: str = "auto"
    tools: list[NamedTool] | None = None


class ToolChoice(NamedTool, gc=False):
    allowed_tools: Allowed | None = None


class JsonSchema(msgspec.Struct, gc=False):
    schema: msgspec.Raw = NOTHING


class ResponseFormat(msgspec.Struct, gc=False):
    type: str = "text"
    json_schema: JsonSchema | None = None


class Reasoning(msgspec.Struct, gc=False):
    """The wish for thinking as model routers spell it."""

    effort: str | None = None
    max_tokens: int | None = None
    enabled: bool | None = None


class Thinking(msgspec.Struct, gc=False):
    """The same as Anthropic spells it."""

    type: str = ""
    budget_tokens: int | None = None


class StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class SearchFilters(msgspec.Struct, gc=False):
    allowed_domains: list[str] | None = None


class WebSearchOptions(msgspec.Struct, gc=False):
    filters: SearchFilters | None = None


class Body(msgspec.Struct, gc=False):
    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | float | None = None
    max_completion_tokens: int | float | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    tools: list[Tool] | None = None
    functions: list[Function] | None = None
    tool_choice: str | ToolChoice | None = None
    function_call: str | Named | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None
    thinking: Thinking | None = None
    enable_thinking: bool | None = None
    modalities: list[str] | None = None
    prompt_cache_key: str | None = None
    web_search_options: WebSearchOptions | None = None
