"""Chat's JSON, as real clients send it, and the conversation it means."""

import json

import msgspec
import pytest

from kiro.conversation.messages import (
    AllowedTools,
    AnyTool,
    AutoChoice,
    DocumentFile,
    DocumentLink,
    Image,
    ImageLink,
    NoTools,
    OutputFormat,
    RedactedThinking,
    Text,
    Thinking,
    ThinkingWish,
    Tool,
    WebSearch,
)
from kiro.errors import InvalidRequest
from kiro.protocols.openai_chat.request import parse, parse_count
from support.conversations import assistant, call, result, system, user

HI = {"role": "user", "content": "Hi"}
SMALLEST = {"model": "m", "messages": [HI]}
SCHEMA = {"type": "object"}
RAW_SCHEMA = msgspec.Raw(b'{"type": "object"}')


def ask(headers=None, **members):
    return parse(json.dumps({**SMALLEST, **members}).encode(), headers or {})


def conversation(**members):
    return ask(**members).conversation


def messages(*given):
    return conversation(messages=list(given)).messages


def function(name="f", **more):
    return {"type": "function", "function": {"name": name, **more}}


def part(given):
    return messages({"role": "user", "content": [given]})[0].parts


def test_the_smallest_request():
    asked = ask()
    assert (asked.stream, asked.notes, asked.include_usage, asked.legacy) == (False, (), False, False)
    assert asked.conversation.messages == (user("Hi"),)
    assert asked.conversation.model == "m"
    assert ask(stream=True, stream_options={"include_usage": True}).include_usage
    assert parse_count(json.dumps(SMALLEST).encode(), {}).conversation == asked.conversation


AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
UPLOADED = {"type": "file", "file": {"file_id": "file-1"}}
REFUSED = {
    "no messages": ({"messages": []}, "messages", None),
    "an empty model": ({"model": " "}, "model", None),
    "several choices": ({"n": 2}, "n", "unsupported_value"),
    "no choice at all": ({"n": 0}, "n", "unsupported_value"),
    "an answer to be heard": ({"modalities": ["text", "audio"]}, "modalities", "unsupported_value"),
    "max_tokens of zero": ({"max_tokens": 0}, "max_tokens", "invalid_value"),
    "max_completion_tokens of zero": ({"max_completion_tokens": 0}, "max_completion_tokens", "invalid_value"),
    "an unknown choice": ({"tool_choice": "maybe"}, "tool_choice", "invalid_value"),
    "an unknown forced tool": ({"tool_choice": function("x")}, "tool_choice", "invalid_value"),
    "an unknown forced function": ({"functions": [], "function_call": {"name": "x"}}, "function_call", "invalid_value"),
    "sound": ({"messages": [{"role": "user", "content": ["a", AUDIO]}]}, "messages[0].content[1]", "unsupported_value"),
    "an uploaded file": (
        {"messages": [{"role": "user", "content": [UPLOADED]}]},
        "messages[0].content[0]",
        "unsupported_value",
    ),
    "a wrong type": ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", None),
}


@pytest.mark.parametrize(("members", "param", "code"), REFUSED.values(), ids=REFUSED)
def test_refused(members, param, code):
    with pytest.raises(InvalidRequest) as refused:
        ask(**members)
    assert (refused.value.param, refused.value.code) == (param, code)


def test_unknown_and_unused_members_are_skipped():
    assert ask(
        n=1, seed=7, logprobs=True, top_logprobs=2, logit_bias={}, store=True, user="u", service_tier="auto",
        metadata={"a": 1}, verbosity="low", prediction={}, modalities=["text"], audio={}, brand_new=1,
    ).notes == ()  # fmt: skip


class TestMessages:
    def test_system_texts_before_the_first_turn_are_lifted_and_others_stay(self):
        asked = conversation(
            messages=[
                {"role": "system", "content": "A"},
                {"role": "developer", "content": [{"type": "text", "text": "B", "cache_control": {}}]},
                HI,
                {"role": "system", "content": "last"},
            ]
        )
        assert asked.system == ("A", "B")
        assert asked.messages == (user("Hi"), system("last"))

    def test_an_unknown_role_is_the_user(self):
        assert messages({"role": "narrator", "content": "a"}) == (user("a"),)

    def test_a_speaker_s_name_stands_before_the_words(self):
        assert messages({"role": "user", "name": "ann", "content": "a"}) == (user("[ann] a"),)

    def test_nothing_said_is_no_part(self):
        assert messages({"role": "assistant", "content": None}, {"role": "user", "content": ""}) == (
            assistant(),
            user(),
        )

    def test_results_in_a_row_are_one_turn(self):
        calls = [
            {"id": name, "type": "function", "function": {"name": "f", "arguments": '{"q":1}'}} for name in ("c1", "c2")
        ]
        said = messages(
            HI,
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c1", "content": "one"},
            {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "two"}]},
            HI,
        )
        assert said[1] == assistant(call("c1", "f", '{"q":1}'), call("c2", "f", '{"q":1}'))
        assert said[2:] == (user(result("c1", "one"), result("c2", "two")), user("Hi"))

    def test_an_old_function_s_result_goes_by_its_name(self):
        said = messages(
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
            {"role": "function", "name": "f", "content": "42"},
        )
        assert said == (assistant(call("", "f")), user(result("", "42", name="f")))

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("", "{}"),
            (None, "{}"),
            ({"a": 1}, '{"a":1}'),
            ('{"a": 1}', '{"a": 1}'),
            ('{"q": ', '{"_raw":"{\\"q\\": "}'),
            ("words", '{"_raw":"words"}'),
        ],
        ids=["empty", "none", "an object", "text", "cut off", "no JSON at all"],
    )
    def test_arguments(self, given, kept):
        calls = [{"id": "t", "type": "function", "function": {"name": "f", "arguments": given}}]
        assert messages({"role": "assistant", "tool_calls": calls}) == (assistant(call("t", "f", kept)),)

    def test_broken_arguments_are_noted(self):
        calls = [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{"}}]
        assert ask(messages=[{"role": "assistant", "tool_calls": calls}]).notes == (
            "arguments of f in the history are not JSON",
        )

    def test_a_custom_call(self):
        calls = [{"id": "t", "type": "custom", "custom": {"name": "sql", "input": 'say "x"'}}]
        assert messages({"role": "assistant", "tool_calls": calls}) == (
            assistant(call("t", "sql", '{"input":"say \\"x\\""}')),
        )

    def test_only_signed_thinking_comes_back(self):
        details = [
            {"type": "reasoning.text", "text": "hm", "signature": "kp1.f.s", "index": 0},
            {"type": "reasoning.encrypted", "data": "d"},
            {"type": "reasoning.summary", "summary": "s"},
        ]
        given = {"role": "assistant", "content": "a", "reasoning_content": "hm", "reasoning_details": details}
        assert messages(given) == (assistant(Thinking("hm", "kp1.f.s"), RedactedThinking("d"), "a"),)
        assert messages({**given, "reasoning_details": None}) == (assistant("a"),)

    def test_a_refusal_is_text(self):
        assert messages({"role": "assistant", "refusal": "No."}) == (assistant("No."),)


PARTS = {
    "text": ({"type": "text", "text": "a", "cache_control": {}}, Text("a")),
    "a picture": (
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        Image("AA==", "image/png"),
    ),
    "a picture by address": (
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        ImageLink("https://x/y.png"),
    ),
    "a picture by bare address": ({"type": "image_url", "image_url": "https://x/y.png"}, ImageLink("https://x/y.png")),
    "a pdf": (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
        DocumentFile("a.pdf", "application/pdf", "JVBE"),
    ),
    "a file of bare base64": (
        {"type": "file", "file": {"file_data": "JVBE"}},
        DocumentFile(None, "application/pdf", "JVBE"),
    ),
    "a picture as a file": (
        {"type": "file", "file": {"file_data": "data:image/png;base64,AA=="}},
        Image("AA==", "image/png"),
    ),
    "a file by address": ({"type": "file", "file": {"file_data": "https://x/y"}}, DocumentLink(None, "https://x/y")),
    "a refusal": ({"type": "refusal", "refusal": "No."}, Text("No.")),
    "something new": ({"type": "hologram"}, Text("[hologram]")),
    "something new with a text": ({"type": "hologram", "text": "a"}, Text("[hologram] a")),
}


@pytest.mark.parametrize(("given", "wanted"), PARTS.values(), ids=PARTS)
def test_a_part(given, wanted):
    assert part(given) == (wanted,)


class TestTools:
    @pytest.mark.parametrize(
        "given",
        [
            {"tools": [function(description="d", parameters=SCHEMA, strict=True)]},
            {"tools": [{"type": "function", "name": "f", "description": "d", "parameters": SCHEMA}]},
            {"tools": [{"type": "x", "name": "f", "description": "d", "input_schema": SCHEMA}]},
            {"functions": [{"name": "f", "description": "d", "parameters": SCHEMA}]},
        ],
        ids=["a function", "a flat one", "one of Anthropic's", "an old one"],
    )
    def test_the_schema_stays_as_it_was_sent(self, given):
        asked = ask(**given)
        assert asked.conversation.tools == (Tool("f", "d", RAW_SCHEMA),)
        assert asked.legacy == ("functions" in given)
        assert asked.conversation.parallel_calls == ("functions" not in given)

    def test_a_custom_tool_takes_one_string_and_tells_its_grammar(self):
        grammar = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a+"}}
        asked = ask(tools=[{"type": "custom", "custom": {"name": "sql", "description": "run", "format": grammar}}])
        (tool,) = asked.conversation.tools
        assert asked.custom_tools == {"sql"}
        assert tool.description == "run\n\nThe input has to follow this regex grammar:\na+"
        assert json.loads(bytes(tool.schema))["properties"]["input"]["type"] == "string"

    def test_tools_of_openai_s_are_left_out_and_noted(self):
        asked = ask(tools=[{"type": "image_generation"}, function()])
        assert [tool.name for tool in asked.conversation.tools] == ["f"]
        assert "image_generation" in asked.notes[0]

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            (None, AutoChoice()),
            ("auto", AutoChoice()),
            ("none", NoTools()),
            ("required", AnyTool()),
            ({"type": "auto"}, AutoChoice()),
            (function(), AnyTool(("f",))),
            ({"type": "custom", "custom": {"name": "f"}}, AnyTool(("f",))),
            ({"type": "function", "name": "f"}, AnyTool(("f",))),
            ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [function()]}}, AllowedTools(("f",))),
            ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [function()]}}, AnyTool(("f",))),
        ],
        ids=str,
    )
    def test_choice(self, given, wanted):
        asked = conversation(tools=[function()], tool_choice=given, parallel_tool_calls=False)
        assert asked.tool_choice == wanted
        assert not asked.parallel_calls

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [("auto", AutoChoice()), ("none", NoTools()), ({"name": "f"}, AnyTool(("f",)))],
        ids=["auto", "none", "by name"],
    )
    def test_an_old_choice(self, given, wanted):
        assert conversation(functions=[{"name": "f"}], function_call=given).tool_choice == wanted

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ({"web_search_options": {"search_context_size": "low", "user_location": {}}}, WebSearch()),
            (
                {"web_search_options": {"filters": {"allowed_domains": ["x.org"]}}},
                WebSearch(allowed_domains=("x.org",)),
            ),
            ({"tools": [{"type": "web_search_preview"}]}, WebSearch()),
            ({}, None),
        ],
        ids=["options", "options with domains", "a tool", "none"],
    )
    def test_a_web_search_is_done_here(self, given, wanted):
        assert conversation(**given).web_search == wanted


class TestWishes:
    @pytest.mark.parametrize(
        ("members", "wish"),
        [
            ({}, ThinkingWish()),
            ({"reasoning_effort": "high"}, ThinkingWish("on", None, "high")),
            ({"reasoning_effort": "minimal"}, ThinkingWish("on", None, "low")),
            ({"reasoning_effort": "none"}, ThinkingWish("off")),
            ({"reasoning_effort": "brand-new"}, ThinkingWish()),
            ({"reasoning": {"effort": "max"}}, ThinkingWish("on", None, "max")),
            ({"reasoning": {"max_tokens": 2000}}, ThinkingWish("on", 2000)),
            ({"reasoning": {"enabled": False}}, ThinkingWish("off")),
            ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, ThinkingWish("on", 2000)),
            ({"thinking": {"type": "adaptive"}, "reasoning_effort": "low"}, ThinkingWish("adaptive", None, "low")),
            ({"thinking": {"type": "disabled"}}, ThinkingWish("off")),
            ({"enable_thinking": True}, ThinkingWish("on")),
            ({"enable_thinking": False}, ThinkingWish("off")),
        ],
        ids=str,
    )
    def test_thinking(self, members, wish):
        assert conversation(**members).thinking == wish

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ({"type": "text"}, None),
            ({"type": "json_object"}, OutputFormat(None)),
            ({"type": "json_schema", "json_schema": {"name": "r", "schema": SCHEMA}}, OutputFormat(RAW_SCHEMA)),
        ],
        ids=["text", "any object", "a schema"],
    )
    def test_a_form_for_the_answer(self, given, wanted):
        assert conversation(response_format=given).output_format == wanted

    def test_limits(self):
        assert conversation(stop="END").stop_sequences == ("END",)
        assert conversation(stop=["", "END"]).stop_sequences == ("END",)
        assert conversation(max_tokens=5).max_tokens == 5
        assert conversation(max_tokens=5, max_completion_tokens=7).max_tokens == 7


@pytest.mark.parametrize(
    ("headers", "cache_key", "session"),
    [
        ({}, None, None),
        ({}, "k", "k"),
        ({"x-session-affinity": "s"}, "k", "s"),
        ({"session_id": "s"}, None, "s"),
    ],
    ids=["none", "the cache key", "a header wins", "another header"],
)
def test_the_session(headers, cache_key, session):
    assert ask(headers, prompt_cache_key=cache_key).conversation.session == session


def test_half_a_character_does_not_stop_anything():
    body = b'{"model":"m","messages":[{"role":"user","content":"a\\ud83d"}]}'
    assert parse(body, {}).conversation.messages == (user("a\N{REPLACEMENT CHARACTER}"),)
