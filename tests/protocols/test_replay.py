"""A conversation begun in one dialect and gone on with in another: Kiro gets every result, picture and failure.

What the client of the first dialect read of the answer is all that the second one is given. It spells
it its own way, as programs do that can speak several.
"""

import base64
import io
import json
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from kiro.conversation.collect import collect
from kiro.conversation.events import Start, TextDelta, ToolCallDelta, ToolCallEnd, ToolCallStart
from kiro.emulator.validation import validate
from kiro.protocols import PROTOCOLS
from support.answers import finish
from support.asked import FUNCTION, SCHEMA
from support.conversion import Converted

MODEL = "claude-sonnet-4.5"
PATH = f"/v1beta/models/{MODEL}:generateContent"


def picture(shade):
    """A small PNG of its own kind, in base64."""
    data = io.BytesIO()
    Picture.new("RGB", (8, 8), (shade, 0, 255 - shade)).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


class Said(NamedTuple):
    """A user turn."""

    text: str
    image: str | None = None


class Called(NamedTuple):
    """A turn of the model: text, and calls as id and arguments."""

    text: str
    calls: tuple[tuple[str, dict], ...] = ()


class Outcome(NamedTuple):
    """What a call brought."""

    call_id: str
    text: str
    image: str | None = None
    failed: bool = False


class Anthropic:
    def write(self, turns):
        messages = [self.turn(turn) for turn in turns]
        tools = [{"name": "get_weather", "description": "Weather", "input_schema": SCHEMA}]
        return {"model": MODEL, "max_tokens": 100, "messages": messages, "tools": tools}

    def turn(self, turn):
        match turn:
            case Said():
                return {"role": "user", "content": self.content(turn)}
            case Called():
                calls = [
                    {"type": "tool_use", "id": one, "name": "get_weather", "input": given} for one, given in turn.calls
                ]
                return {"role": "assistant", "content": [{"type": "text", "text": turn.text}, *calls]}
            case outcomes:
                return {"role": "user", "content": [self.outcome(one) for one in outcomes]}

    def outcome(self, one):
        content = {"content": self.content(one), "is_error": one.failed}
        return {"type": "tool_result", "tool_use_id": one.call_id, **content}

    def content(self, turn):
        source = {"type": "base64", "media_type": "image/png", "data": turn.image}
        shown = [{"type": "image", "source": source}] if turn.image else []
        return [{"type": "text", "text": turn.text}, *shown]

    def read(self, message):
        text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
        calls = [(block["id"], block["input"]) for block in message["content"] if block["type"] == "tool_use"]
        return Called(text, tuple(calls))


class Chat:
    def write(self, turns):
        messages = [message for turn in turns for message in self.turn(turn)]
        return {"model": MODEL, "messages": messages, "tools": [{"type": "function", "function": FUNCTION}]}

    def turn(self, turn):
        match turn:
            case Said():
                return [{"role": "user", "content": self.content(turn)}]
            case Called():
                calls = [
                    {
                        "id": one,
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": json.dumps(given)},
                    }
                    for one, given in turn.calls
                ]
                return [{"role": "assistant", "content": turn.text, "tool_calls": calls}]
            case outcomes:
                return [
                    {
                        "role": "tool",
                        "tool_call_id": one.call_id,
                        "content": self.content(one),
                        "is_error": one.failed,
                    }
                    for one in outcomes
                ]

    def content(self, turn):
        url = {"url": f"data:image/png;base64,{turn.image}"}
        shown = [{"type": "image_url", "image_url": url}] if turn.image else []
        return [{"type": "text", "text": turn.text}, *shown]

    def read(self, completion):
        message = completion["choices"][0]["message"]
        calls = [(call["id"], json.loads(call["function"]["arguments"])) for call in message["tool_calls"]]
        return Called(message["content"], tuple(calls))


class Responses:
    def write(self, turns):
        items = [item for turn in turns for item in self.turn(turn)]
        return {"model": MODEL, "input": items, "tools": [{"type": "function", **FUNCTION}]}

    def turn(self, turn):
        match turn:
            case Said():
                return [{"role": "user", "content": self.content(turn)}]
            case Called():
                said = [{"type": "output_text", "text": turn.text}]
                calls = [
                    {
                        "type": "function_call",
                        "call_id": one,
                        "name": "get_weather",
                        "arguments": json.dumps(given),
                    }
                    for one, given in turn.calls
                ]
                return [{"type": "message", "role": "assistant", "content": said}, *calls]
            case outcomes:
                return [
                    {
                        "type": "function_call_output",
                        "call_id": one.call_id,
                        "output": self.content(one),
                        "status": "failed" if one.failed else "completed",
                    }
                    for one in outcomes
                ]

    def content(self, turn):
        url = f"data:image/png;base64,{turn.image}"
        shown = [{"type": "input_image", "image_url": url}] if turn.image else []
        return [{"type": "input_text", "text": turn.text}, *shown]

    def read(self, response):
        text, calls = "", []
        for item in response["output"]:
            if item["type"] == "message":
                text += "".join(part["text"] for part in item["content"])
            else:
                calls.append((item["call_id"], json.loads(item["arguments"])))
        return Called(text, tuple(calls))


class Gemini:
    def write(self, turns):
        contents = [self.turn(turn) for turn in turns]
        return {"contents": contents, "tools": [{"functionDeclarations": [FUNCTION]}]}

    def turn(self, turn):
        match turn:
            case Said():
                return {"role": "user", "parts": [{"text": turn.text}, *self.shown(turn)]}
            case Called():
                calls = [
                    {"functionCall": {"id": one, "name": "get_weather", "args": given}} for one, given in turn.calls
                ]
                return {"role": "model", "parts": [{"text": turn.text}, *calls]}
            case outcomes:
                return {"role": "user", "parts": [{"functionResponse": self.outcome(one)} for one in outcomes]}

    def outcome(self, one):
        response = {"error" if one.failed else "output": one.text}
        return {"id": one.call_id, "name": "get_weather", "response": response, "parts": self.shown(one)}

    def shown(self, turn):
        return [{"inlineData": {"mimeType": "image/png", "data": turn.image}}] if turn.image else []

    def read(self, response):
        parts = response["candidates"][0]["content"]["parts"]
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        text = "".join(part["text"] for part in parts if "text" in part)
        return Called(text, tuple((call["id"], call["args"]) for call in calls))


CLIENTS = {"anthropic": Anthropic(), "openai_chat": Chat(), "openai_responses": Responses(), "gemini": Gemini()}
PAIRS = [(begun, continued) for begun in CLIENTS for continued in CLIENTS]


def converted(dialect, turns):
    return Converted(dialect, CLIENTS[dialect].write(turns), path=PATH if dialect == "gemini" else None)


def answered(dialect, ask, calls):
    """What the client of a dialect reads of an answer with these calls."""
    events = [Start(), TextDelta("I look.")]
    for call_id, given_ in calls:
        events += [ToolCallStart(call_id, "get_weather"), ToolCallDelta(json.dumps(given_)), ToolCallEnd()]
    answer = PROTOCOLS[dialect].answer(ask, collect([*events, finish("tool_use")]), "0123")
    return CLIENTS[dialect].read(json.loads(answer))


def test_every_dialect_takes_part():
    assert set(CLIENTS) == set(PROTOCOLS)


_outcomes = st.tuples(st.sampled_from(["sunny", "日本\n語", '{"a": 1}']), st.booleans(), st.booleans())


@pytest.mark.parametrize(("begun", "continued"), PAIRS, ids=[" → ".join(pair) for pair in PAIRS])
@given(rounds=st.lists(st.lists(_outcomes, min_size=1, max_size=3), min_size=1, max_size=2), dice=st.randoms())
@settings(max_examples=12)
def test_nothing_is_lost_between(begun, continued, rounds, dice):
    turns = [Said("What is this?", picture(0))]
    wanted, pictures = [], [picture(0)]
    for number, outcomes in enumerate(rounds):
        calls = [(f"tooluse_{number}_{at}", {"city": f"c{at}"}) for at in range(len(outcomes))]
        turns.append(answered(begun, converted(begun, turns).ask, calls))
        assert turns[-1] == Called("I look.", tuple(calls))
        found = [
            Outcome(call_id, text, picture(1 + 10 * number + at) if shown else None, failed)
            for at, ((call_id, _), (text, shown, failed)) in enumerate(zip(calls, outcomes, strict=True))
        ]
        wanted.append([(one.call_id, "error" if one.failed else "success", one.text, bool(one.image)) for one in found])
        pictures += [one.image for one in found if one.image]
        turns.append(dice.sample(found, len(found)))
    kiro = converted(continued, turns)
    assert validate(kiro.kiro.body) is None
    sent = [turn["userInputMessage"] for turn in kiro.turns if "userInputMessage" in turn]
    results = [turn["userInputMessageContext"]["toolResults"] for turn in sent if results_in(turn)]
    assert [[told(one) for one in turn] for turn in results] == wanted
    shown = [image["source"]["bytes"] for turn in sent for image in turn.get("images", [])]
    assert sorted(shown) == sorted(pictures)
    made = [
        turn["assistantResponseMessage"].get("toolUses", [])
        for turn in kiro.turns
        if "assistantResponseMessage" in turn
    ]
    assert [[one["toolUseId"] for one in turn] for turn in made if turn] == [
        [one[0] for one in turn] for turn in wanted
    ]


def results_in(turn):
    return "toolResults" in turn.get("userInputMessageContext", {})


def told(result):
    text = "\n".join(part["text"] for part in result["content"])
    shown = "[image attached]" in text
    return result["toolUseId"], result["status"], text.removesuffix("[image attached]").removesuffix("\n"), shown
