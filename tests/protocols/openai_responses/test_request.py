"""OpenAI's Responses JSON, as real clients send it, and the conversation it means."""

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
    Message,
    NoTools,
    OutputFormat,
    RedactedThinking,
    Text,
    Thinking,
    ThinkingWish,
    WebSearch,
)
from kiro.errors import InvalidRequest
from kiro.protocols.openai_responses.compaction import INSTRUCTION, UNREADABLE, unwrap_summary, wrap_summary
from kiro.protocols.openai_responses.reasoning import seal, seal_redacted
from kiro.protocols.openai_responses.request import parse, parse_count
from kiro.protocols.openai_responses.tools import Declared
from support.conversations import assistant, call, result, system, user

FUNCTION = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": False}


def ask(*items, headers=None, path=None, **members):
    body = {"model": "m", "input": list(items) or "Hi", **members}
    return parse(json.dumps(body).encode(), headers or {}, path or {})


def turns(*items, **members):
    return ask(*items, **members).conversation.messages


def said(role, text):
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}


def test_the_smallest_request():
    asked = ask()
    assert asked.conversation.messages == (user("Hi"),)
    assert (asked.stream, asked.store, asked.codex, asked.compact, asked.notes) == (False, True, False, False, ())
    assert ask(stream=True).stream


REFUSED = {
    "no input": ({"input": None}, "input"),
    "an empty input": ({"input": []}, "input"),
    "an empty model": ({"model": " "}, "model"),
    "no model": ({"model": None}, "model"),
    "a run in the background": ({"background": True}, "background"),
    "a conversation kept at OpenAI": ({"conversation": "conv_1"}, "conversation"),
    "a prompt template": ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    "a limit of zero": ({"max_output_tokens": 0}, "max_output_tokens"),
    "an unknown choice": ({"tool_choice": "maybe"}, "tool_choice"),
    "an unknown forced tool": ({"tool_choice": {"type": "function", "name": "x"}}, "tool_choice"),
    "a forced tool of OpenAI's": (
        {"tools": [{"type": "file_search"}], "tool_choice": {"type": "file_search"}},
        "tool_choice",
    ),
    "an uploaded picture": (
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
        "input[0].content[0]",
    ),
    "an uploaded file": (
        {"input": [said("user", "a"), {"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        "input[1].content[0]",
    ),
    "a wrong type": (
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": 5}]}]},
        "input[0].content[0].text",
    ),
}


@pytest.mark.parametrize(("members", "param"), REFUSED.values(), ids=REFUSED)
def test_refused(members, param):
    with pytest.raises(InvalidRequest) as refused:
        ask(**members)
    assert refused.value.param == param


def test_unknown_members_are_skipped():
    assert ask(service_tier="auto", client_metadata={"a": 1}, stream_options={"x": 1}, brand_new=[1], background=False)


def test_counting_needs_no_input():
    assert parse_count(b'{"model":"m"}', {}).conversation.messages == ()


class TestSystem:
    def test_instructions_then_the_opening_messages(self):
        asked = ask({"role": "system", "content": "A"}, said("developer", "B"), said("user", "c"), instructions="I")
        assert asked.conversation.system == ("I", "A", "B")
        assert asked.conversation.messages == (user("c"),)

    def test_later_ones_stay_where_they_are(self):
        assert turns(said("user", "a"), said("developer", "b")) == (user("a"), system("b"))

    def test_a_summary_does_not_end_the_opening(self):
        compacted = {"type": "compaction", "encrypted_content": wrap_summary("S")}
        asked = ask(compacted, said("developer", "B"), said("user", "c"))
        assert asked.conversation.system == ("B",)


def data_url(media_type, data="AA=="):
    return f"data:{media_type};base64,{data}"


PARTS = {
    "a picture": ({"type": "input_image", "image_url": data_url("image/png")}, Image("AA==", "image/png")),
    "a picture by address": ({"type": "input_image", "image_url": "https://x/y.png"}, ImageLink("https://x/y.png")),
    "a picture as Chat has it": (
        {"type": "input_image", "image_url": {"url": "https://x/y"}},
        ImageLink("https://x/y"),
    ),
    "a pdf": (
        {"type": "input_file", "filename": "a.pdf", "file_data": data_url("application/pdf", "JVBE")},
        DocumentFile("a.pdf", "application/pdf", "JVBE"),
    ),
    "a file without a type": (
        {"type": "input_file", "file_data": "JVBE"},
        DocumentFile(None, "application/pdf", "JVBE"),
    ),
    "a picture as a file": ({"type": "input_file", "file_data": data_url("image/png")}, Image("AA==", "image/png")),
    "a file by address": ({"type": "input_file", "file_url": "https://x/y"}, DocumentLink(None, "https://x/y")),
    "an answer": ({"type": "output_text", "text": "a", "annotations": [], "logprobs": []}, Text("a")),
    "a refusal": ({"type": "refusal", "refusal": "No."}, Text("No.")),
    "sound": ({"type": "input_audio", "input_audio": {"data": "x"}}, Text("[input_audio]")),
    "something new": ({"type": "hologram", "text": {"beam": 1}, "file_id": 5}, Text("[hologram]")),
}


@pytest.mark.parametrize(("part", "wanted"), PARTS.values(), ids=PARTS)
def test_a_content_part(part, wanted):
    assert turns({"role": "user", "content": [part]}) == (Message("user", (wanted,)),)


CALLS = {
    "a function": (
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a": 1}'},
        assistant(call("c", "f", '{"a": 1}')),
    ),
    "a function without arguments": (
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""},
        assistant(call("c", "f")),
    ),
    "arguments that are no JSON": (
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{oops"},
        assistant(call("c", "f", '{"_raw":"{oops"}')),
    ),
    "a namespaced function": (
        {"type": "function_call", "call_id": "c", "name": "read", "namespace": "mcp__m", "arguments": "{}"},
        assistant(call("c", "mcp__m__read")),
    ),
    "free text": (
        {"type": "custom_tool_call", "call_id": "c", "name": "exec", "input": 'say("x")'},
        assistant(call("c", "exec", '{"input":"say(\\"x\\")"}')),
    ),
    "the local shell": (
        {"type": "local_shell_call", "call_id": "c", "action": {"type": "exec", "command": ["ls"], "user": None}},
        assistant(call("c", "local_shell", '{"command":["ls"]}')),
    ),
    "the shell": (
        {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}},
        assistant(call("c", "shell", '{"commands": ["ls"]}')),
    ),
    "a patch": (
        {"type": "apply_patch_call", "call_id": "c", "operation": {"type": "delete_file", "path": "a"}},
        assistant(call("c", "apply_patch", '{"type": "delete_file", "path": "a"}')),
    ),
    "a search for tools": (
        {"type": "tool_search_call", "call_id": "c", "execution": "client", "arguments": {"query": "x"}},
        assistant(call("c", "tool_search", '{"query": "x"}')),
    ),
    "the output of a function": (
        {"type": "function_call_output", "call_id": "c", "output": "o"},
        user(result("c", "o")),
    ),
    "an empty output": ({"type": "function_call_output", "call_id": "c", "output": ""}, user(result("c"))),
    "an output of parts": (
        {
            "type": "custom_tool_call_output",
            "call_id": "c",
            "output": [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "https://x/y"}],
        },
        user(result("c", "a", ImageLink("https://x/y"))),
    ),
    "an output that is JSON": (
        {"type": "function_call_output", "call_id": "c", "output": {"a": 1}},
        user(result("c", '{"a": 1}')),
    ),
    "the output of the local shell, which has no call id": (
        {"type": "local_shell_call_output", "id": "c", "output": "o"},
        user(result("c", "o")),
    ),
    "the output of the shell": (
        {
            "type": "shell_call_output",
            "call_id": "c",
            "output": [
                {"stdout": "a", "stderr": "b", "outcome": {"type": "exit", "exit_code": 1}},
                {"stdout": "", "stderr": "", "outcome": {"type": "timeout"}},
            ],
        },
        user(result("c", "a\nb\n[exit code 1]", "[timed out]")),
    ),
    "a patch that failed": (
        {"type": "apply_patch_call_output", "call_id": "c", "status": "failed", "output": "No such file"},
        user(result("c", "No such file", error=True)),
    ),
    "a screenshot": (
        {
            "type": "computer_call_output",
            "call_id": "c",
            "output": {"type": "computer_screenshot", "image_url": data_url("image/png")},
        },
        user(Image("AA==", "image/png")),
    ),
    "reasoning of our own": (
        {"type": "reasoning", "summary": [], "content": None, "encrypted_content": seal("hm", "kp1.x.sig")},
        assistant(Thinking("hm", "kp1.x.sig")),
    ),
    "redacted reasoning of our own": (
        {"type": "reasoning", "summary": [], "encrypted_content": seal_redacted("kp1.x.blob")},
        assistant(RedactedThinking("kp1.x.blob")),
    ),
    "reasoning of somebody else": (
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": "gAAAA"},
        assistant(Thinking("s", "gAAAA")),
    ),
    "a damaged seal": (
        {"type": "reasoning", "summary": [], "encrypted_content": "kr1.!!"},
        assistant(Thinking("", None)),
    ),
    "a summary of somebody else": ({"type": "compaction", "encrypted_content": "gAAAA"}, user(UNREADABLE)),
    "a search of OpenAI's": (
        {"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": "q"}},
        assistant('[web_search_call: ws_1] {"type": "search", "query": "q"}'),
    ),
    "an approval": (
        {"type": "mcp_approval_response", "id": "a", "approve": True, "reason": "fine"},
        user("[mcp_approval_response: a] approve: true reason: fine"),
    ),
    "something new": ({"type": "hologram", "id": "h", "content": 5, "name": {"x": 1}}, user("[hologram: h]")),
}


@pytest.mark.parametrize(("item", "wanted"), CALLS.values(), ids=CALLS)
def test_an_item(item, wanted):
    assert turns(item) == (wanted,)


@pytest.mark.parametrize("kind", ["item_reference", "mcp_list_tools", "additional_tools"])
def test_items_that_say_nothing(kind):
    assert turns({"type": kind, "id": "x", "tools": []}, said("user", "a")) == (user("a"),)


def test_a_call_that_openai_answered_is_a_call_and_its_result():
    item = {"type": "mcp_call", "id": "m", "server_label": "s", "name": "f", "arguments": "{}", "output": "o"}
    assert turns(item) == (assistant(call("m", "s__f")), user(result("m", "o")))
    assert turns({**item, "error": "broken"})[1] == user(result("m", "broken", error=True))


def test_one_answer_is_one_turn_and_so_are_its_outputs():
    found = turns(
        said("user", "a"),
        {"type": "reasoning", "summary": [], "encrypted_content": seal("hm", "kp1.x.s")},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "2", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "2", "output": "y"},
        {"type": "function_call_output", "call_id": "1", "output": "x"},
        said("user", "c"),
    )
    assert found == (
        user("a"),
        assistant(Thinking("hm", "kp1.x.s"), "b", call("1", "f"), call("2", "f")),
        user(result("2", "y"), result("1", "x")),
        user("c"),
    )


class TestTools:
    def test_the_schema_stays_as_it_was_sent(self):
        (tool,) = ask(tools=[FUNCTION]).conversation.tools
        assert (tool.name, tool.description, tool.schema) == ("f", "d", msgspec.Raw(b'{"type": "object"}'))

    def test_a_grammar_is_told_in_the_description(self):
        grammar = {"type": "grammar", "syntax": "lark", "definition": "start: begin"}
        (tool,) = ask(
            tools=[{"type": "custom", "name": "p", "description": "FREEFORM", "format": grammar}]
        ).conversation.tools
        assert tool.description == "FREEFORM\n\nThe input has to follow this lark grammar:\nstart: begin"
        assert json.loads(bytes(tool.schema))["required"] == ["input"]

    def test_a_namespace_is_a_prefix_and_its_description_stands_with_the_first(self):
        inner = [FUNCTION, {"type": "custom", "name": "exec"}]
        asked = ask(tools=[{"type": "namespace", "name": "ns", "description": "All.", "tools": inner}])
        assert [tool.name for tool in asked.conversation.tools] == ["ns__f", "ns__exec"]
        assert asked.conversation.tools[0].description == "d\n\nAbout ns: All."
        assert asked.declared == {
            "ns__f": Declared("function", "f", "ns"),
            "ns__exec": Declared("custom", "exec", "ns"),
        }

    def test_a_call_that_leaves_its_namespace_out_means_the_only_tool_of_that_name(self):
        tools = [{"type": "namespace", "name": "ns", "tools": [{"type": "custom", "name": "exec"}]}]
        found = turns({"type": "custom_tool_call", "call_id": "c", "name": "exec", "input": "x"}, tools=tools)
        assert found[0].parts[0].name == "ns__exec"

    @pytest.mark.parametrize("named", [{}, {"namespace": "functions"}], ids=["left out", "written out"])
    def test_the_namespace_of_those_that_have_none_is_no_prefix(self, named):
        """Codex in code mode puts `exec` there, and its instructions speak of `exec`."""
        inner = [{"type": "custom", "name": "exec"}]
        asked = ask(
            {
                "type": "additional_tools",
                "role": "developer",
                "tools": [{"type": "namespace", "name": "functions", "tools": inner}],
            },
            said("user", "a"),
            {"type": "custom_tool_call", "call_id": "c", "name": "exec", "input": "x", **named},
        )
        assert [tool.name for tool in asked.conversation.tools] == ["exec"]
        assert asked.declared == {"exec": Declared("custom", "exec", "functions")}
        assert asked.conversation.messages[1].parts[0].name == "exec"

    def test_tools_in_the_input_count_too(self):
        asked = ask(
            {"type": "additional_tools", "role": "developer", "tools": [FUNCTION]},
            said("user", "a"),
            {"type": "tool_search_call", "call_id": "s", "execution": "client", "arguments": {"query": "x"}},
            {"type": "tool_search_output", "call_id": "s", "tools": [{"type": "function", "name": "g"}]},
            tools=[{"type": "tool_search", "execution": "client"}],
        )
        assert [tool.name for tool in asked.conversation.tools] == ["tool_search", "f", "g"]
        assert asked.conversation.messages[-1] == user(result("s", "Tools found: g"))

    def test_a_web_search_is_done_here(self):
        asked = ask(
            tools=[{"type": "web_search", "external_web_access": False, "filters": {"allowed_domains": ["x.org"]}}],
            tool_choice={"type": "web_search_preview"},
        )
        assert asked.conversation.web_search == WebSearch(allowed_domains=("x.org",))
        assert asked.conversation.tool_choice == AnyTool(("web_search",))

    @pytest.mark.parametrize(
        "tool",
        [
            {"type": "image_generation"},
            {"type": "mcp", "server_url": "https://x", "server_label": "x"},
            {"type": "shell", "environment": {"type": "container_auto"}},
            {"type": "tool_search"},
        ],
        ids=lambda tool: tool["type"],
    )
    def test_what_runs_at_openai_is_left_out_and_noted(self, tool):
        asked = ask(tools=[tool, FUNCTION])
        assert [tool.name for tool in asked.conversation.tools] == ["f"]
        assert len(asked.notes) == 1

    @pytest.mark.parametrize(
        ("choice", "wanted"),
        [
            (None, AutoChoice()),
            ("auto", AutoChoice()),
            ("none", NoTools()),
            ("required", AnyTool()),
            ({"type": "function", "name": "f"}, AnyTool(("f",))),
            ({"type": "local_shell"}, AnyTool(("local_shell",))),
            ({"type": "custom", "name": "exec", "namespace": "ns"}, AnyTool(("ns__exec",))),
            ({"type": "custom", "name": "exec"}, AnyTool(("ns__exec",))),
            (
                {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
                AllowedTools(("f",)),
            ),
            (
                {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
                AnyTool(("f",)),
            ),
        ],
        ids=str,
    )
    def test_choice(self, choice, wanted):
        namespace = {"type": "namespace", "name": "ns", "tools": [{"type": "custom", "name": "exec"}]}
        asked = ask(tools=[FUNCTION, {"type": "local_shell"}, namespace], tool_choice=choice, parallel_tool_calls=False)
        assert asked.conversation.tool_choice == wanted
        assert not asked.conversation.parallel_calls


class TestWishes:
    @pytest.mark.parametrize(
        ("reasoning", "wish"),
        [
            (None, ThinkingWish()),
            ({}, ThinkingWish()),
            ({"summary": "auto"}, ThinkingWish("adaptive")),
            ({"generate_summary": "concise"}, ThinkingWish("adaptive")),
            ({"effort": "high"}, ThinkingWish("on", None, "high", show=False)),
            ({"effort": "minimal", "summary": "detailed"}, ThinkingWish("on", None, "low")),
            ({"effort": "none"}, ThinkingWish("off", show=False)),
            ({"effort": "brand-new", "context": "all_turns"}, ThinkingWish()),
        ],
        ids=str,
    )
    def test_thinking(self, reasoning, wish):
        assert ask(reasoning=reasoning).conversation.thinking == wish

    @pytest.mark.parametrize(
        ("text", "wanted"),
        [
            ({"verbosity": "low"}, None),
            ({"format": {"type": "text"}}, None),
            ({"format": {"type": "json_object"}}, OutputFormat(None)),
            (
                {"format": {"type": "json_schema", "name": "n", "strict": True, "schema": {"type": "object"}}},
                OutputFormat(msgspec.Raw(b'{"type": "object"}')),
            ),
        ],
        ids=["a verbosity", "text", "any object", "a schema"],
    )
    def test_a_form_for_the_answer(self, text, wanted):
        assert ask(text=text).conversation.output_format == wanted

    def test_a_limit(self):
        assert ask(max_output_tokens=99).conversation.max_tokens == 99

    def test_what_the_store_and_the_server_have_to_know(self):
        asked = ask(
            {"type": "item_reference", "id": "rs_1"}, store=False, truncation="auto", previous_response_id="resp_1"
        )
        assert (asked.store, asked.may_trim, asked.previous_response_id, asked.references) == (
            False, True, "resp_1", ("rs_1",),
        )  # fmt: skip


class TestCompaction:
    ITEMS = (said("user", "a"), {"type": "compaction_trigger"})

    @pytest.mark.parametrize(
        ("items", "path"), [(ITEMS, {}), (ITEMS[:1], {"verb": "compact"})], ids=["a trigger", "its own route"]
    )
    def test_the_last_turn_asks_for_a_summary_and_there_are_no_tools(self, items, path):
        asked = ask(
            *items, path=path, tools=[FUNCTION], tool_choice="required", text={"format": {"type": "json_object"}}
        )
        assert asked.compact
        assert asked.conversation.messages == (user("a"), user(INSTRUCTION))
        assert (asked.conversation.tools, asked.conversation.tool_choice) == ((), NoTools())
        assert asked.conversation.output_format is None

    def test_a_trigger_elsewhere_means_nothing(self):
        asked = ask({"type": "compaction_trigger"}, said("user", "a"))
        assert not asked.compact
        assert asked.conversation.messages == (user("a"),)

    @pytest.mark.parametrize("text", ["We built X.", "", "日本 \N{BALLOON} \x00"])
    def test_a_summary_travels_and_comes_back(self, text):
        assert unwrap_summary(wrap_summary(text)) == text

    @pytest.mark.parametrize("kind", ["compaction", "compaction_summary"])
    def test_it_is_what_the_user_says(self, kind):
        (turn,) = turns({"type": kind, "encrypted_content": wrap_summary("We built X.")})
        assert turn.role == "user"
        assert turn.parts[0].text.endswith("We built X.")

    @pytest.mark.parametrize("content", [None, "", "gAAAA", "kc1.!!", "kc1.e30="])
    def test_a_foreign_one_is_known_as_such(self, content):
        assert unwrap_summary(content) is None


@pytest.mark.parametrize(
    ("headers", "codex"),
    [
        ({"originator": "codex_exec"}, True),
        ({"user-agent": "codex_cli_rs/0.47.0"}, True),
        ({"user-agent": "OpenAI/Python 3.52"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_who_codex_is(headers, codex):
    assert ask(headers=headers).codex is codex


@pytest.mark.parametrize(
    ("headers", "key", "session"),
    [({"session-id": "h"}, "k", "h"), ({}, "k", "k"), ({}, None, None)],
    ids=["the header wins", "the cache key", "none"],
)
def test_the_session(headers, key, session):
    assert ask(headers=headers, prompt_cache_key=key).conversation.session == session


def test_half_a_character_does_not_stop_anything():
    body = b'{"model":"m","input":[{"role":"user","content":"a\\ud83d"}]}'
    assert parse(body, {}).conversation.messages == (user("a\N{REPLACEMENT CHARACTER}"),)


def test_not_even_in_the_output_of_a_tool():
    body = b'{"model":"m","input":[{"type":"function_call_output","call_id":"c","output":"a\\ud83d"}]}'
    assert parse(body, {}).conversation.messages == (user(result("c", "a\N{REPLACEMENT CHARACTER}")),)


def test_the_inside_of_a_known_item_is_checked_beside_an_unknown_one():
    with pytest.raises(InvalidRequest) as refused:
        ask({"type": "hologram", "content": 5}, {"type": "function_call", "call_id": 5})
    assert refused.value.param == "input[1].call_id"
