"""The EMULATE lines: what is asked for, step by step, and what is answered without any."""

import json
from typing import Any

import msgspec
import pytest

from kiro.emulator.schemas import sample
from kiro.emulator.script import CallTools, Decision, Say, decide, read_script
from kiro.emulator.wire import decode_request
from support.bodies import Document, assistant, body, call, dump, result, tool, user

TOOLS = [
    tool("Write"),
    tool("get_weather"),
    tool("run_code", schema={"type": "object", "properties": {"code": {"type": "string"}}}),
]
ASK = "Test.\nEMULATE: text=PONG\nEMULATE: end"
TOOL = 'Test.\nEMULATE: tool=get_weather input={"city": "Paris"}\nEMULATE: text=DONE\nEMULATE: end</x>'
TWO = (
    'EMULATE: tool=get_weather input={"city": "Paris"}\n'
    'EMULATE: +tool=write input={"a": "— \\n é😀"}\n'
    "EMULATE: tool=get_weather input={}\n"
    "EMULATE: text=DONE"
)


def decided(document: Document) -> Decision:
    return decide(decode_request(dump(document)))


def calls(*pairs: tuple[str, Any], thinking: str | None = None) -> CallTools:
    return CallTools(pairs, thinking)


WEATHER = ("get_weather", {"city": "Paris"})
AFTER_ONE = [user(TOOL), assistant("", calls=[call()])]
CASES: dict[str, tuple[Document, Decision]] = {
    "text is answered": (body(ASK), Say("PONG")),
    "carriage returns do not matter": (body(ASK.replace("\n", "\r\n")), Say("PONG")),
    "text goes to the end of its line": (body("EMULATE: text=a b =c "), Say("a b =c ")),
    "jtext has line breaks": (body('EMULATE: jtext="a\\nb" and more'), Say("a\nb")),
    "thinking comes with it": (body("EMULATE: thinking=hm\nEMULATE: text=yes"), Say("yes", "hm")),
    "a line inside a sentence is none": (body("say EMULATE: text=a\nEMULATE: text=b"), Say("b")),
    "a tool is called": (body(TOOL, tools=TOOLS), calls(WEATHER)),
    "what follows the JSON is ignored": (
        body('EMULATE: tool=write input={"a": 1} </tag>', tools=TOOLS),
        calls(("Write", {"a": 1})),
    ),
    "the whole name has to match": (
        body("EMULATE: tool=weather|Wri.* input={}", tools=TOOLS),
        calls(("Write", {})),
    ),
    "a freeform tool gets its text": (
        body('EMULATE: tool=run_code input="print(1)\\nx"', tools=TOOLS),
        calls(("run_code", {"code": "print(1)\nx"})),
    ),
    "an undeclared tool is answered with text": (body(TOOL), Say("There is no tool like get_weather here.")),
    "after the result comes the text": (body("", history=AFTER_ONE, results=[result()], tools=TOOLS), Say("DONE")),
    "text beside the result is no new script": (
        body("<reminder>", history=AFTER_ONE, results=[result()], tools=TOOLS),
        Say("DONE"),
    ),
    "two calls in one step": (body(TWO, tools=TOOLS), calls(WEATHER, ("Write", {"a": "— \n é😀"}))),
    "the second step waits for both results": (
        body(
            "",
            history=[user(TWO), assistant("", calls=[call("a"), call("b")])],
            results=[result("a"), result("b")],
            tools=TOOLS,
        ),
        calls(("get_weather", {})),
    ),
    "results split over turns are counted": (
        body(
            "",
            history=[
                user(TWO),
                assistant(calls=[call("a")]),
                user("", results=[result("a")]),
                assistant(calls=[call("b")]),
            ],
            results=[result("b")],
            tools=TOOLS,
        ),
        calls(("get_weather", {})),
    ),
    "the last text with lines counts": (body("EMULATE: text=new", history=[user(ASK), assistant()]), Say("new")),
    "an earlier script holds while nothing new is said": (
        body("thanks", history=[user(ASK), assistant("PONG")]),
        Say("PONG"),
    ),
    "markup behind the end does not matter": (body("EMULATE: text=a\nEMULATE: end</x>\nEMULATE: text=b"), Say("b")),
    "of two scripts in one text the last counts": (body(ASK + "\nmore\nEMULATE: text=two"), Say("two")),
    "a script of the system text is none": (
        body("Answer in JSON.", history=[user(ASK), assistant("I will follow these instructions.")]),
        Say('{"answer": "emulated"}'),
    ),
    "a script of the assistant is none": (body("hm", history=[user(ASK), assistant("EMULATE: text=x")]), Say("PONG")),
    "a script in a tool result is none": (
        body("", history=AFTER_ONE, results=[result(text="EMULATE: text=x")], tools=TOOLS),
        Say("DONE"),
    ),
    "a cut answer is continued": (
        body("go on", history=[user("EMULATE: text=one two three"), assistant("one tw")]),
        Say("o three"),
    ),
    "tool results of earlier turns do not count": (
        body(
            TOOL,
            history=[user(TOOL), assistant(calls=[call()]), user("", results=[result()]), assistant()],
            tools=TOOLS,
        ),
        calls(WEATHER),
    ),
}


@pytest.mark.parametrize(("document", "decision"), CASES.values(), ids=CASES.keys())
def test_obeys(document: Document, decision: Decision) -> None:
    assert decided(document) == decision


def test_without_lines_it_says_what_it_is_and_how_to_sign_in() -> None:
    decision = decided(body("How are you?"))
    assert isinstance(decision, Say)
    assert "emulator" in decision.text
    assert "How are you?" in decision.text
    assert "kiro login" in decision.text


def test_what_agents_put_beside_the_words_is_left_out() -> None:
    said = "<system-reminder>\nbe good\n</system-reminder>\nHello <b>you</b> there"
    decision = decided(body(said))
    assert isinstance(decision, Say)
    assert "“Hello there”" in decision.text


def test_without_lines_a_tool_result_is_acknowledged() -> None:
    decision = decided(body("", history=[user(), assistant(calls=[call()])], results=[result()], tools=TOOLS))
    assert isinstance(decision, Say)
    assert "1 result" in decision.text


SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "kind": {"enum": ["a", "b"]},
        "tags": {"type": "array", "items": {"type": "integer"}},
        "maybe": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        "sure": {"type": "boolean"},
    },
    "required": ["title", "kind", "tags", "maybe", "sure"],
}


def test_a_schema_is_answered_with_json_that_fits() -> None:
    decision = decided(body(f"Name it.\n\nAnswer with JSON that fits this schema:\n{json.dumps(SCHEMA)}"))
    assert isinstance(decision, Say)
    assert msgspec.json.decode(decision.text) == {
        "title": "emulated",
        "kind": "a",
        "tags": [1],
        "maybe": None,
        "sure": True,
    }


@pytest.mark.parametrize(("text", "said"), [("PONG", {"a": "emulated"}), ('{"a": "b"}', {"a": "b"})])
def test_a_schema_comes_before_a_text_that_is_no_json(text: str, said: Any) -> None:
    """Agents that sort a prompt before they answer it repeat its script, and read nothing but JSON."""
    schema = json.dumps({"type": "object", "properties": {"a": {"type": "string"}}})
    script = f"EMULATE: text={text}\nEMULATE: end\n\n"
    decision = decided(body(f"{script}Answer with JSON that fits this schema:\n{schema}"))
    assert isinstance(decision, Say)
    assert msgspec.json.decode(decision.text) == said


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"const": 3}, 3),
        ({"enum": ["b", "a"]}, "b"),
        ({"oneOf": [{"type": "boolean"}]}, True),
        ({"type": ["integer", "null"]}, 1),
        ({"type": "NUMBER", "minimum": 5}, 5),
        ({"type": "null"}, None),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, ["t", "t"]),
        ({"properties": {"a": {"type": "string"}}}, {"a": "t"}),
        ({"type": "object", "properties": {"a": {}, "b": {}}, "required": ["b"]}, {"b": "t"}),
        ({}, "t"),
        (True, "t"),
    ],
)
def test_the_smallest_value_that_fits(schema: Any, value: Any) -> None:
    assert sample(schema, "t") == value


def test_a_system_text_that_asks_for_json_is_obeyed() -> None:
    asks = 'Return JSON with a single "title" field.'
    decision = decided(body("make a title", history=[user(asks), assistant()]))
    assert isinstance(decision, Say)
    assert msgspec.json.decode(decision.text) == {"title": "emulated"}


def test_an_agent_that_merely_mentions_json_gets_text() -> None:
    decision = decided(
        body("Write a function that returns JSON", tools=TOOLS, history=[user("Output valid JSON"), assistant()])
    )
    assert isinstance(decision, Say)
    assert "emulator" in decision.text


@pytest.mark.parametrize("text", ["", "EMULATE text=x", " EMULATE: text=x", "EMULATE: end"])
def test_no_lines_no_script(text: str) -> None:
    assert read_script(text) is None
