"""Short builders, and strategies for conversations as wild as any client could send."""

import msgspec
from hypothesis import strategies as st

from kiro.conversation.messages import (
    AllowedTools,
    AnyTool,
    AutoChoice,
    Conversation,
    Document,
    DocumentFile,
    DocumentLink,
    Image,
    ImageLink,
    Message,
    NoTools,
    OutputFormat,
    RedactedThinking,
    Text,
    Thinking,
    ThinkingWish,
    Tool,
    ToolCall,
    ToolResult,
)

ONE_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def user(*parts):
    return Message("user", _parts(parts))


def assistant(*parts):
    return Message("assistant", _parts(parts))


def system(*parts):
    return Message("system", _parts(parts))


def call(call_id, name="Read", given="{}"):
    return ToolCall(call_id, name, msgspec.Raw(given.encode()))


def result(call_id, *parts, error=False, name=None):
    return ToolResult(call_id, _parts(parts), error, name)


def tool(name="Read", description="Does it", schema='{"type":"object","properties":{}}'):
    return Tool(name, description, None if schema is None else msgspec.Raw(schema.encode()))


def said(*messages, model="claude-sonnet-4.5", **more):
    return Conversation(model, tuple(messages), **more)


def _parts(parts):
    return tuple(Text(part) if isinstance(part, str) else part for part in parts)


_texts = st.sampled_from(
    ["", " ", "\n", "hello", "{", "naïve 日本語 🎈", "a\u0000b", "<system-reminder>x</system-reminder>"]
)
_ids = st.sampled_from(["", "t1", "t2", "t1_2", "call_1\nfc_2", "x" * 70, "日本"])
_names = st.sampled_from(["Read", "read", "a.b", "mcp__" + "long" * 20, "", "9lives", "日本"])
_inputs = st.sampled_from(
    [
        "{}",
        '{"a":1}',
        '"text"',
        '"{\\"a\\":1}"',
        "[1]",
        "null",
        "3",
        '""',
        '{"half":"\\ud83d"}',
        '"\\ud83d"',
        ' {"a": 1}',
    ]
).map(lambda text: msgspec.Raw(text.encode()))
_media = st.sampled_from(
    [
        Image(ONE_PIXEL, "image/webp"),
        Image("AAAA", "image/png"),
        Image("not base64!", ""),
        ImageLink("https://example.com/x.png"),
        Document("Title", "words"),
        Document(None, ""),
        DocumentFile("f", "application/pdf", "JVBERi0="),
        DocumentLink(None, "https://example.com/x.pdf"),
    ]
)
_text_parts = st.builds(Text, _texts)
_thoughts = st.one_of(
    st.builds(Thinking, _texts, st.sampled_from([None, "foreign", "kp1.claude-opus.sig", "kp1."])),
    st.builds(RedactedThinking, st.sampled_from(["", "abc", "kp1.claude-opus.x"])),
)
_calls = st.builds(ToolCall, _ids, _names, _inputs)
_results = st.builds(
    ToolResult,
    _ids,
    st.lists(st.one_of(_text_parts, _media, _thoughts), max_size=2).map(tuple),
    st.booleans(),
    st.none() | _names,
)
_parts_of_any = st.one_of(_text_parts, _text_parts, _media, _thoughts, _calls, _calls, _results, _results)
_messages = st.builds(
    Message,
    st.sampled_from(["user", "assistant", "user", "assistant", "system"]),
    st.lists(_parts_of_any, max_size=4).map(tuple),
)
_schemas = st.sampled_from(
    [
        "null",
        "true",
        "{}",
        '{"type":"string"}',
        '{"type":"object","required":[],"additionalProperties":false}',
        '{"anyOf":[{"type":"object","properties":{"a":{"$ref":"#"}}}]}',
    ]
).map(lambda text: msgspec.Raw(text.encode()))
_tools = st.builds(Tool, _names, st.sampled_from(["", " ", "Does it", "long " * 3000]), st.none() | _schemas)
_choices = st.one_of(
    st.just(AutoChoice()),
    st.just(NoTools()),
    st.builds(AnyTool, st.lists(_names, max_size=2).map(tuple)),
    st.builds(AllowedTools, st.lists(_names, max_size=2).map(tuple)),
)
_wishes = st.builds(
    ThinkingWish,
    st.sampled_from([None, "on", "adaptive", "off"]),
    st.sampled_from([None, 1024, 31_999]),
    st.sampled_from([None, "low", "xhigh", "max"]),
    st.booleans(),
)

conversations = st.builds(
    Conversation,
    model=st.sampled_from(["claude-sonnet-4.5", "claude-opus-5", "gpt-5.6-sol", "glm-5"]),
    messages=st.lists(_messages, max_size=8).map(tuple),
    system=st.lists(_texts, max_size=2).map(tuple),
    tools=st.lists(_tools, max_size=4).map(tuple),
    tool_choice=_choices,
    thinking=_wishes,
    max_tokens=st.sampled_from([None, 1, 4096]),
    output_format=st.sampled_from([None, OutputFormat(None), OutputFormat(msgspec.Raw(b'{"type":"object"}'))]),
)
