"""Tools: names out and back, descriptions, limits, choices."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro.conversation.messages import AllowedTools, AnyTool, NoTools
from kiro.upstream.tools import MAX_DESCRIPTION, MAX_TOOLS, ToolNames, make_toolbox
from support.conversations import assistant, call, result, said, tool, user

LEGAL = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}\Z")
ROUND = (user("go"), assistant(call("t1", "Read")), user(result("t1", "A")))


def toolbox(*messages, **more):
    return make_toolbox(said(*(messages or (user("go"),)), **more))


def names_of(box):
    return [entry.tool_specification.name for entry in box.tools]


class TestNames:
    @given(st.lists(st.text(max_size=80), unique=True))
    def test_aliases_are_legal_different_and_lead_back(self, given_):
        names = ToolNames()
        aliases = [names.out(name) for name in given_]
        assert all(LEGAL.match(alias) for alias in aliases)
        assert len({alias.lower() for alias in aliases}) == len(given_)
        assert [names.back(alias) for alias in aliases] == given_

    def test_legal_names_stay(self):
        assert ToolNames().out("mcp__srv__read-file") == "mcp__srv__read-file"

    def test_an_alias_depends_on_nothing_but_the_name(self):
        other = ToolNames()
        other.out("Read")
        assert ToolNames().out("a.b") == other.out("a.b")

    def test_unknown_aliases_pass(self):
        assert ToolNames().back("made_up") == "made_up"


class TestDescriptions:
    def test_an_empty_one_is_filled(self):
        assert toolbox(tools=(tool("A", " "),)).tools[0].tool_specification.description == "Tool: A"

    def test_the_overflow_of_a_long_one_moves_to_the_system_text(self):
        long = "".join(f"{n:06d}" for n in range(3000))
        box = toolbox(tools=(tool("Big", long),))
        kept = box.tools[0].tool_specification.description
        assert len(kept) <= MAX_DESCRIPTION
        head, tail = kept.split("\n\n[")[0], box.system[0].split("\n\n", 1)[1]
        assert head + tail == long
        assert box.system[0].startswith("Tool details: Big")


class TestHistory:
    def test_a_tool_that_only_the_history_knows_gets_a_stub(self):
        box = toolbox(*ROUND)
        assert names_of(box) == ["Read"]
        assert json.loads(bytes(box.tools[0].tool_specification.input_schema["json"])) == {
            "type": "object",
            "properties": {},
        }
        assert box.instruction == "Answer without calling any tool."

    def test_beside_declared_tools_no_call_is_forbidden(self):
        box = toolbox(*ROUND, tools=(tool("Write"),))
        assert names_of(box) == ["Write", "Read"]
        assert box.instruction is None


class TestChoice:
    TOOLS = (tool("Read"), tool("Write"), tool("a.b"))

    @pytest.mark.parametrize(
        ("choice", "offered", "instruction"),
        [
            (NoTools(), [], None),
            (AnyTool(), ["Read", "Write", "a_b"], "Respond by calling one of the available tools."),
            (AnyTool(("Write",)), ["Write"], "Respond by calling the tool Write."),
            (AnyTool(("Read", "Write")), ["Read", "Write"], "Respond by calling one of these tools: Read, Write."),
            (AllowedTools(("Read",)), ["Read"], None),
        ],
        ids=["none", "any", "one by name", "one of some", "allowed ones"],
    )
    def test_choice(self, choice, offered, instruction):
        box = toolbox(tools=self.TOOLS, tool_choice=choice)
        assert [re.sub(r"_[0-9a-f]{8}$", "", name) for name in names_of(box)] == offered
        assert box.instruction == instruction

    def test_a_forced_tool_with_an_alias_is_named_by_it(self):
        box = toolbox(tools=self.TOOLS, tool_choice=AnyTool(("a.b",)))
        assert box.instruction == f"Respond by calling the tool {names_of(box)[0]}."


class TestLimits:
    MANY = tuple(tool(f"t{n}") for n in range(150))

    def test_too_many_tools_lose_their_tail_and_it_is_said(self):
        box = toolbox(tools=self.MANY)
        assert names_of(box) == [f"t{n}" for n in range(MAX_TOOLS)]
        assert "unavailable" in box.system[0]
        assert "t149" in box.system[0]
        assert box.notes

    def test_what_the_history_uses_stays(self):
        box = toolbox(user("go"), assistant(call("1", "t149")), user(result("1", "A")), tools=self.MANY)
        assert names_of(box) == [*(f"t{n}" for n in range(MAX_TOOLS - 1)), "t149"]

    def test_weight_counts_too(self):
        heavy = tuple(
            tool(f"t{n}", "x", json.dumps({"type": "object", "description": "y" * 100_000})) for n in range(15)
        )
        assert 5 < len(toolbox(tools=heavy).tools) < 11

    def test_of_two_tools_with_one_name_the_first_stays(self):
        box = toolbox(tools=(tool("A", "first"), tool("A", "second")))
        assert [entry.tool_specification.description for entry in box.tools] == ["first"]


def test_tools_with_a_bare_value_are_marked_for_unwrapping():
    box = toolbox(tools=(tool("echo it", schema='{"type":"string"}'), tool("Read")))
    assert box.names.unwrap == {"echo it"}
