"""Anthropic's JSON, as real clients send it, and the conversation it means."""

import json

import msgspec
import pytest

from kiro.conversation.messages import (
    AnyTool,
    AutoChoice,
    Document,
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
from kiro.protocols.anthropic.request import parse, parse_count
from support.conversations import assistant, call, result, system, user

SMALLEST = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}
FILE = {"type": "file", "file_id": "file_1"}


def ask(headers=None, **members):
    return parse(json.dumps({**SMALLEST, **members}).encode(), headers or {})


def conversation(**members):
    return ask(**members).conversation


def blocks(*content, role="user"):
    return conversation(messages=[{"role": role, "content": list(content)}]).messages[0].parts


def test_the_smallest_request():
    asked = ask()
    assert (asked.stream, asked.notes) == (False, ())
    assert asked.conversation.messages == (user("Hi"),)
    assert (asked.conversation.model, asked.conversation.max_tokens) == ("m", 10)
    assert ask(stream=True).stream


REFUSED = {
    "no messages": ({"messages": []}, "messages"),
    "no max_tokens": ({"max_tokens": None}, "max_tokens"),
    "max_tokens of zero": ({"max_tokens": 0}, "max_tokens"),
    "an empty model": ({"model": " "}, "model"),
    "a stored thread": ({"thread": {"id": "t"}}, "thread"),
    "MCP servers": ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
    "an impossible temperature": ({"temperature": 3}, "temperature"),
    "an unknown forced tool": ({"tool_choice": {"type": "tool", "name": "x"}}, "tool_choice.name"),
    "an unknown choice": ({"tool_choice": {"type": "maybe"}}, "tool_choice.type"),
    "an uploaded image": (
        {"messages": [{"role": "user", "content": ["a", {"type": "image", "source": FILE}]}]},
        "messages[0].content[1].source",
    ),
    "an uploaded document": (
        {"messages": [{"role": "user", "content": [{"type": "document", "source": FILE}]}]},
        "messages[0].content[0].source",
    ),
    "a wrong type": ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
}


@pytest.mark.parametrize(("members", "param"), REFUSED.values(), ids=REFUSED)
def test_refused(members, param):
    with pytest.raises(InvalidRequest) as refused:
        ask(**members)
    assert refused.value.param == param


def test_a_thread_is_refused_by_its_own_code():
    with pytest.raises(InvalidRequest) as refused:
        ask(thread={"id": "t"})
    assert refused.value.code == "thread_unsupported_request"


def test_counting_needs_no_max_tokens():
    body = json.dumps({key: value for key, value in SMALLEST.items() if key != "max_tokens"}).encode()
    assert parse_count(body, {}).conversation.max_tokens is None


def test_unknown_members_are_skipped():
    assert ask(
        service_tier="auto", container="c", context_management={}, inference_geo="eu", mcp_servers=[], brand_new=1
    )


class TestSystem:
    def test_a_string_and_blocks(self):
        assert conversation(system="Base.").system == ("Base.",)
        assert conversation(
            system=[{"type": "text", "text": "A", "cache_control": {}}, {"type": "text", "text": "B"}]
        ).system == ("A", "B")

    def test_the_billing_line_is_left_out(self):
        line = "x-anthropic-billing-header: cc_version=2; cch=1;"
        assert conversation(system=[{"type": "text", "text": line}, {"type": "text", "text": "B"}]).system == ("B",)
        assert conversation(system=f"{line}\nRest").system == ("Rest",)

    def test_a_system_message_stays_where_it_is(self):
        given = [{"role": "user", "content": "a"}, {"role": "system", "content": [{"type": "text", "text": "rule"}]}]
        assert conversation(messages=given).messages == (user("a"), system("rule"))

    def test_an_unknown_role_is_the_user(self):
        assert conversation(messages=[{"role": "narrator", "content": "a"}]).messages == (user("a"),)


ONE = {
    "text": ({"type": "text", "text": "a", "citations": []}, Text("a")),
    "a picture": (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
        Image("AA==", "image/png"),
    ),
    "a picture by address": (
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        ImageLink("https://x/y.png"),
    ),
    "a picture by data address": (
        {"type": "image", "source": {"type": "url", "url": "data:image/png;base64,AA=="}},
        Image("AA==", "image/png"),
    ),
    "a document of text": (
        {"type": "document", "title": "T", "context": "C", "source": {"type": "text", "data": "x"}},
        Document("T", "C\n\nx"),
    ),
    "a document of blocks": (
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
        Document(None, "x"),
    ),
    "a pdf": (
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}},
        DocumentFile(None, "application/pdf", "JVBE"),
    ),
    "a document by address": (
        {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
        DocumentLink(None, "https://x/y.pdf"),
    ),
    "a search result": (
        {"type": "search_result", "source": "https://x", "title": "Hit", "content": [{"type": "text", "text": "g"}]},
        Document("Hit - https://x", "g"),
    ),
    "a tool reference": ({"type": "tool_reference", "tool_name": "Read"}, Text("tool_reference: Read")),
    "an upload": ({"type": "container_upload", "file_id": "f1"}, Text("[container_upload: f1]")),
    "something new": ({"type": "hologram", "beam": {}}, Text("[hologram]")),
    "thinking": ({"type": "thinking", "thinking": "hm", "signature": "s"}, Thinking("hm", "s")),
    "thinking with an empty signature": ({"type": "thinking", "thinking": "hm", "signature": ""}, Thinking("hm", None)),
    "redacted thinking": ({"type": "redacted_thinking", "data": "d"}, RedactedThinking("d")),
    "a call": ({"type": "tool_use", "id": "t", "name": "Read", "input": {"a": 1}}, call("t", given='{"a": 1}')),
    "a call without input": ({"type": "tool_use", "id": "t", "name": "Read"}, call("t")),
    "a result as a string": ({"tool_use_id": "t", "type": "tool_result", "content": "A"}, result("t", "A")),
    "a failed result": (
        {"type": "tool_result", "tool_use_id": "t", "content": "A", "is_error": True},
        result("t", "A", error=True),
    ),
    "an empty result": ({"type": "tool_result", "tool_use_id": "t"}, result("t")),
    "a result of references": (
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference", "tool_name": "Web"}]},
        result("t", "tool_reference: Web"),
    ),
    "a result with a picture": (
        {
            "type": "tool_result",
            "tool_use_id": "t",
            "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}],
        },
        result("t", Image("AA==", "image/png")),
    ),
    "a search of Anthropic's": (
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
        Text('(web_search was called with {"query": "q"})'),
    ),
    "its result": (
        {
            "type": "web_search_tool_result",
            "tool_use_id": "s",
            "content": [{"type": "web_search_result", "title": "T", "url": "https://x", "encrypted_content": "EqgfC"}],
        },
        Text("(Result of web search:\nT - https://x\n)"),
    ),
    "our own result, which shows its snippet": (
        {
            "type": "web_search_tool_result",
            "tool_use_id": "s",
            "content": [
                {"type": "web_search_result", "title": "T", "url": "https://x", "encrypted_content": "some words"}
            ],
        },
        Text("(Result of web search:\nT - https://x - some words\n)"),
    ),
    "its failure": (
        {
            "type": "web_search_tool_result",
            "content": {"type": "web_search_tool_result_error", "error_code": "unavailable"},
        },
        Text("(Result of web search:\nerror: unavailable\n)"),
    ),
    "a code run of Anthropic's": (
        {"type": "code_execution_tool_result", "content": {"type": "code_execution_result", "stdout": "42"}},
        Text("(Result of code execution:\n42\n)"),
    ),
    "an MCP result": (
        {"type": "mcp_tool_result", "content": [{"type": "text", "text": "x"}]},
        Text("(Result of mcp:\nx\n)"),
    ),
}


@pytest.mark.parametrize(("block", "part"), ONE.values(), ids=ONE)
def test_a_block(block, part):
    assert blocks(block) == (part,)


def test_empty_texts_are_no_parts():
    assert blocks({"type": "text", "text": ""}, {"type": "text", "text": None}) == ()
    assert conversation(messages=[{"role": "assistant", "content": None}]).messages == (assistant(),)


def test_a_strange_block_is_noted():
    assert ask(messages=[{"role": "user", "content": [{"type": "hologram"}]}]).notes == (
        "content block told as text: hologram",
    )


class TestTools:
    def test_the_schema_stays_as_it_was_sent(self):
        given = [
            {"name": "A", "input_schema": {"type": "object"}, "defer_loading": True, "cache_control": {}},
            {"type": "custom", "name": "B", "description": "b"},
        ]
        assert conversation(tools=given).tools == (
            Tool("A", "", msgspec.Raw(b'{"type": "object"}')),
            Tool("B", "b", None),
        )

    def test_a_web_search_is_done_here(self):
        given = [
            {
                "type": "web_search_20250305",
                "name": "web_search",
                "max_uses": 8,
                "allowed_domains": ["x.org"],
                "blocked_domains": None,
            }
        ]
        asked = conversation(tools=given, tool_choice={"type": "tool", "name": "web_search"})
        assert asked.web_search == WebSearch("web_search", 8, ("x.org",))
        assert asked.tools == ()
        assert asked.tool_choice == AnyTool(("web_search",))

    def test_other_tools_of_anthropics_are_left_out_and_noted(self):
        asked = ask(tools=[{"type": "code_execution_20250825", "name": "code_execution"}, {"name": "A"}])
        assert [tool.name for tool in asked.conversation.tools] == ["A"]
        assert "code_execution_20250825" in asked.notes[0]

    @pytest.mark.parametrize(
        ("given_", "wanted"),
        [("auto", AutoChoice()), ("none", NoTools()), ("any", AnyTool()), ("tool", AnyTool(("A",)))],
    )
    def test_choice(self, given_, wanted):
        choice = {"type": given_, "disable_parallel_tool_use": True} | ({"name": "A"} if given_ == "tool" else {})
        asked = conversation(tools=[{"name": "A"}], tool_choice=choice)
        assert asked.tool_choice == wanted
        assert not asked.parallel_calls


class TestWishes:
    @pytest.mark.parametrize(
        ("members", "wish"),
        [
            ({}, ThinkingWish()),
            (
                {"thinking": {"type": "enabled", "budget_tokens": 31999, "display": "omitted"}},
                ThinkingWish("on", 31999, None, False),
            ),
            ({"thinking": {"type": "adaptive", "display": "updates"}}, ThinkingWish("adaptive")),
            ({"thinking": {"type": "disabled"}}, ThinkingWish("off")),
            ({"output_config": {"effort": "high"}}, ThinkingWish(effort="high")),
            ({"output_config": {"effort": "brand-new"}}, ThinkingWish()),
        ],
        ids=["nothing", "a budget, hidden", "adaptive", "off", "an effort", "an unknown effort"],
    )
    def test_thinking(self, members, wish):
        assert conversation(**members).thinking == wish

    @pytest.mark.parametrize(
        "place",
        [lambda f: {"output_config": {"format": f}}, lambda f: {"output_format": f}],
        ids=["today", "in the beta"],
    )
    def test_a_schema_for_the_answer(self, place):
        wanted = place({"type": "json_schema", "schema": {"type": "object"}})
        assert conversation(**wanted).output_format == OutputFormat(msgspec.Raw(b'{"type": "object"}'))

    def test_stop_sequences(self):
        assert conversation(stop_sequences=["", "END"]).stop_sequences == ("END",)


SESSION = "5f0f7a52-3c1e-4c40-9f5a-0d5b5c1f8a11"


@pytest.mark.parametrize(
    ("headers", "user_id", "session"),
    [
        ({}, None, None),
        ({"x-claude-code-session-id": "h"}, json.dumps({"session_id": SESSION}), "h"),
        ({}, json.dumps({"device_id": "d", "session_id": SESSION}), SESSION),
        ({}, f"user_abc_account__session_{SESSION}", SESSION),
        ({}, "{broken", None),
        ({}, "somebody", None),
    ],
    ids=[
        "none",
        "the header wins",
        "JSON in the user id",
        "the tail of the user id",
        "broken JSON",
        "no session in it",
    ],
)
def test_the_session(headers, user_id, session):
    assert ask(headers, metadata={"user_id": user_id}).conversation.session == session


def test_half_a_character_does_not_stop_anything():
    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a\\ud83d"}]}'
    assert parse(body, {}).conversation.messages == (user("a\N{REPLACEMENT CHARACTER}"),)


@pytest.mark.parametrize("odd", [{"content": 5}, {"url": {"a": 1}}, {"source": [1], "input": "x", "id": "i"}], ids=str)
def test_the_inside_of_an_unknown_block_is_never_an_error(odd):
    name = ": i" if "id" in odd else ""
    assert blocks({"type": "hologram", **odd}, {"type": "text", "text": "a"}) == (Text(f"[hologram{name}]"), Text("a"))


def test_not_even_inside_a_tool_result():
    inner = {"type": "hologram", "content": 5}
    assert blocks({"type": "tool_result", "tool_use_id": "t", "content": [inner]}) == (result("t", "[hologram]"),)


def test_the_inside_of_a_known_block_is():
    with pytest.raises(InvalidRequest) as refused:
        blocks({"type": "hologram", "content": 5}, {"type": "text", "text": 5})
    assert refused.value.param == "messages[0].content[1].text"


@pytest.mark.parametrize(
    ("kind", "name"),
    [("bash_20250124", "bash"), ("text_editor_20250728", "str_replace_based_edit_tool"), ("memory_20250818", "memory")],
)
def test_tools_that_the_client_runs_get_their_schema(kind, name):
    asked = ask(tools=[{"type": kind, "name": name}], tool_choice={"type": "tool", "name": name})
    (found,) = asked.conversation.tools
    assert found.name == name
    assert json.loads(bytes(found.schema))["properties"]["command"]
    assert asked.notes == ()
