"""The generateContent request as clients send it: wide, tolerant types, in both spellings.

Google's JSON is read in camelCase and in snake_case, and clients use both, sometimes in one request.
So a member of two words is declared twice, and `either` takes the one that is there. The first in
each pair is the usual one.
"""

from typing import Any, Final, TypeVar

import msgspec

NOTHING: Final = msgspec.Raw()
"""Stands for an absent raw member: `Raw` cannot be part of a union."""
T = TypeVar("T")


def either(camel: T | None, snake: T | None) -> T | None:
    return camel if camel is not None else snake


def given(*spellings: msgspec.Raw) -> msgspec.Raw | None:
    """The first raw JSON that is neither absent nor null."""
    return next((raw for raw in spellings if bytes(raw) not in (b"", b"null")), None)


class Blob(msgspec.Struct, gc=False):
    mimeType: str | None = None
    mime_type: str | None = None
    displayName: str | None = None
    display_name: str | None = None
    data: str = ""


class FileData(msgspec.Struct, gc=False):
    fileUri: str | None = None
    file_uri: str | None = None
    mimeType: str | None = None
    mime_type: str | None = None
    displayName: str | None = None
    display_name: str | None = None


class FunctionCall(msgspec.Struct, gc=False):
    name: str = ""
    id: str | None = None
    args: msgspec.Raw = NOTHING


class FunctionResponse(msgspec.Struct, gc=False):
    name: str = ""
    id: str | None = None
    response: msgspec.Raw = NOTHING
    parts: "list[Part] | None" = None


class Code(msgspec.Struct, gc=False):
    language: str | None = None
    code: str | None = None


class CodeResult(msgspec.Struct, gc=False):
    outcome: str | None = None
    output: str | None = None


class Part(msgspec.Struct, gc=False):
    """Any part: the member that is there says what it is."""

    text: str | None = None
    thought: bool | None = None
    thoughtSignature: str | None = None
    thought_signature: str | None = None
    inlineData: Blob | None = None
    inline_data: Blob | None = None
    fileData: FileData | None = None
    file_data: FileData | None = None
    functionCall: FunctionCall | None = None
    function_call: FunctionCall | None = None
    functionResponse: FunctionResponse | None = None
    function_response: FunctionResponse | None = None
    executableCode: Code | None = None
    executable_code: Code | None = None
    codeExecutionResult: CodeResult | None = None
    code_execution_result: CodeResult | None = None
    toolCall: msgspec.Raw = NOTHING
    tool_call: msgspec.Raw = NOTHING
    toolResponse: msgspec.Raw = NOTHING
    tool_response: msgspec.Raw = NOTHING


class Content(msgspec.Struct, gc=False):
    """A turn. `text` stands here when a client writes a bare part as the system text."""

    role: str | None = None
    parts: list[Part] | Part | None = None
    text: str | None = None


class Declaration(msgspec.Struct, gc=False):
    name: str = ""
    description: str | None = None
    parameters: msgspec.Raw = NOTHING
    parametersJsonSchema: msgspec.Raw = NOTHING
    parameters_json_schema: msgspec.Raw = NOTHING


class Search(msgspec.Struct, gc=False):
    excludeDomains: list[str] | None = None
    exclude_domains: list[str] | None = None


class Tool(msgspec.Struct, gc=False):
    """Functions, or one of Google's own tools."""

    functionDeclarations: list[Declaration] | None = None
    function_declarations: list[Declaration] | None = None
    googleSearch: Search | None = None
    google_search: Search | None = None
    googleSearchRetrieval: Search | None = None
    google_search_retrieval: Search | None = None
    enterpriseWebSearch: Search | None = None
    enterprise_web_search: Search | None = None
    urlContext: msgspec.Raw = NOTHING
    url_context: msgspec.Raw = NOTHING
    codeExecution: msgspec.Raw = NOTHING
    code_execution: msgspec.Raw = NOTHING
    computerUse: msgspec.Raw = NOTHING
    computer_use: msgspec.Raw = NOTHING
    googleMaps: msgspec.Raw = NOTHING
    google_maps: msgspec.Raw = NOTHING
    fileSearch: msgspec.Raw = NOTHING
    file_search: msgspec.Raw = NOTHING


class CallingConfig(msgspec.Struct, gc=False):
    mode: str | None = None
    allowedFunctionNames: list[str] | None = None
    allowed_function_names: list[str] | None = None


class ToolConfig(msgspec.Struct, gc=False):
    functionCallingConfig: CallingConfig | None = None
    function_calling_config: CallingConfig | None = None


class ThinkingConfig(msgspec.Struct, gc=False):
    includeThoughts: bool | None = None
    include_thoughts: bool | None = None
    thinkingBudget: int | None = None
    thinking_budget: int | None = None
    thinkingLevel: str | None = None
    thinking_level: str | None = None


class GenerationConfig(msgspec.Struct, gc=False):
    maxOutputTokens: int | None = None
    max_output_tokens: int | None = None
    stopSequences: list[str] | None = None
    stop_sequences: list[str] | None = None
    candidateCount: int | None = None
    candidate_count: int | None = None
    responseMimeType: str | None = None
    response_mime_type: str | None = None
    responseSchema: msgspec.Raw = NOTHING
    response_schema: msgspec.Raw = NOTHING
    responseJsonSchema: msgspec.Raw = NOTHING
    response_json_schema: msgspec.Raw = NOTHING
    responseModalities: list[str] | None = None
    response_modalities: list[str] | None = None
    thinkingConfig: ThinkingConfig | None = None
    thinking_config: ThinkingConfig | None = None


class Body(msgspec.Struct, gc=False):
    """`generateContentRequest` stands in for everything else when tokens are counted."""

    contents: list[Content] | Content | str | None = None
    systemInstruction: Content | str | list[Content | str] | None = None
    system_instruction: Content | str | list[Content | str] | None = None
    tools: list[Tool] | Tool | None = None
    toolConfig: ToolConfig | None = None
    tool_config: ToolConfig | None = None
    generationConfig: GenerationConfig | None = None
    generation_config: GenerationConfig | None = None
    cachedContent: str | None = None
    cached_content: str | None = None
    model: str | None = None
    generateContentRequest: "Body | None" = None
    generate_content_request: "Body | None" = None


def has_any(*members: Any) -> bool:
    """Whether any raw member is there; `{}` counts."""
    return given(*members) is not None
