"""What the events of an answer look like: cuts, reasoning, numbers."""

import json
from typing import Any

import pytest

from kiro.emulator import signatures
from kiro.emulator.answers import answer, frame_bytes, text_pieces
from kiro.emulator.models import MODELS, Model, answering_model, find_model
from kiro.emulator.script import decide
from kiro.emulator.validation import validate
from kiro.emulator.wire import decode_request
from support.bodies import Document, assistant, body, call, dump, result, tool, user
from support.frames import Event, calls_of, events, payload_of, reasoning_of, text_of

THINK = "EMULATE: thinking=hmm, let me see\nEMULATE: text=yes"
SUMMARIZED: Document = {"thinking": {"type": "adaptive", "display": "summarized"}}
TAGS = "<thinking_mode>enabled</thinking_mode><max_thinking_length>2000</max_thinking_length>\n"


def answered(document: Document) -> list[Event]:
    data = dump(document)
    assert validate(data) is None
    request = decode_request(data)
    model_id = document["conversationState"]["currentMessage"]["userInputMessage"]["modelId"]
    model = find_model(MODELS, model_id)
    assert model is not None
    made = answer(request, len(data), answering_model(MODELS, model), decide(request), runtime=False)
    return events(b"".join(frame_bytes(event) for event in made.events))


def names(found: list[Event]) -> list[str]:
    """Event names with repetitions left out."""
    kept = [name for name, _ in found]
    return [name for position, name in enumerate(kept) if position == 0 or kept[position - 1] != name]


@pytest.mark.parametrize("text", ["", "a", "ha" * 40, "👩‍👩‍👧 é – \n\t" * 9, "x" * 100_000], ids=len)  # noqa: RUF001
def test_pieces_make_up_the_text_and_none_is_empty(text: str) -> None:
    pieces = text_pieces(text)
    assert "".join(pieces) == text
    assert all(pieces)
    assert len(pieces) < 700


def test_the_same_request_gives_the_same_events() -> None:
    document = body("EMULATE: tool=get_weather input={}", tools=[tool()])
    assert answered(document) == answered(document)


def test_ids_differ_within_a_conversation() -> None:
    script = 'EMULATE: tool=get_weather input={"a":1}\nEMULATE: +tool=get_weather input={"a":2}\nEMULATE: tool=get_weather input={}'
    first = answered(body(script, tools=[tool()]))
    history = [user(script), assistant("", calls=[call("a"), call("b")])]
    second = answered(body("", history=history, results=[result("a"), result("b")], tools=[tool()]))
    ids = [{payload["toolUseId"] for name, payload in found if name == "toolUseEvent"} for found in (first, second)]
    assert [len(found) for found in ids] == [2, 1]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(
    "value", [{}, {"a": "é😀" * 30, "b": [None, 1.5, {"c": True}]}, {"long": "x" * 20_000}], ids=len
)
def test_tool_input_survives_its_slices(value: Any) -> None:
    found = answered(body(f"EMULATE: tool=get_weather input={json.dumps(value)}", tools=[tool()]))
    assert calls_of(found) == [("get_weather", value)]
    assert names(found)[1] == "toolUseEvent"


class TestThinking:
    def test_native_reasoning_comes_first_and_is_signed(self) -> None:
        found = answered(body(THINK, model="claude-opus-4.8", fields=SUMMARIZED))
        assert names(found)[1:3] == ["reasoningContentEvent", "assistantResponseEvent"]
        assert reasoning_of(found) == "hmm, let me see"
        signature = [payload["signature"] for _, payload in found if "signature" in payload]
        assert signature == [signatures.sign("claude-opus", "hmm, let me see")]
        assert text_of(found) == "yes"

    def test_omitted_reasoning_is_a_signature_only(self) -> None:
        found = answered(
            body(THINK, model="claude-opus-5", fields={"thinking": {"type": "adaptive", "display": "omitted"}})
        )
        assert reasoning_of(found) == ""
        assert [payload for name, payload in found if name == "reasoningContentEvent"] == [
            {"signature": signatures.sign("claude-opus", "")}
        ]

    def test_switched_off(self) -> None:
        found = answered(body(THINK, model="claude-opus-5", fields={"thinking": {"type": "disabled"}}))
        assert "reasoningContentEvent" not in names(found)

    def test_gpt_reasons_at_the_end_and_shows_nothing(self) -> None:
        found = answered(body(THINK, model="gpt-5.6-sol", fields={"reasoning": {"effort": "high"}}))
        assert names(found)[1:3] == ["assistantResponseEvent", "reasoningContentEvent"]
        assert reasoning_of(found) == "..."

    def test_a_model_without_reasoning_uses_tags_when_asked_by_tags(self) -> None:
        assert text_of(answered(body(TAGS + THINK))) == "<thinking>hmm, let me see</thinking>\n\nyes"
        by_system = body(THINK, history=[user(TAGS + "Be brief."), assistant("I will follow these instructions.")])
        assert text_of(answered(by_system)).startswith("<thinking>")

    def test_a_model_without_reasoning_shows_nothing_unasked(self) -> None:
        assert text_of(answered(body(THINK))) == "yes"

    def test_a_model_that_takes_effort_but_shows_nothing(self) -> None:
        assert names(answered(body(THINK, model="claude-opus-4.6", fields=SUMMARIZED)))[1:3] == [
            "assistantResponseEvent",
            "metadataEvent",
        ]

    def test_an_unscripted_answer_thinks_when_asked(self) -> None:
        assert reasoning_of(answered(body("hi", model="claude-sonnet-5", fields=SUMMARIZED)))
        assert not reasoning_of(answered(body("hi", model="claude-sonnet-5")))
        assert text_of(answered(body(TAGS + "hi"))).startswith("<thinking>")

    def test_signed_reasoning_is_accepted_back(self) -> None:
        found = answered(body(THINK, model="claude-sonnet-5", fields=SUMMARIZED))
        thought = {"text": reasoning_of(found), "signature": next(p["signature"] for _, p in found if "signature" in p)}
        history = [user(THINK), assistant(text_of(found), reasoningContent={"reasoningText": thought})]
        assert text_of(answered(body("EMULATE: text=again", model="claude-sonnet-5", history=history))) == "again"


class TestNumbers:
    def test_tokens_add_up(self) -> None:
        usage = payload_of(answered(body("EMULATE: text=12345678")), "metadataEvent")["tokenUsage"]
        prompt = usage["uncachedInputTokens"] + usage["cacheReadInputTokens"] + usage["cacheWriteInputTokens"]
        assert usage["outputTokens"] == 2
        assert usage["totalTokens"] == prompt + 2

    def test_a_long_history_is_read_from_the_cache(self) -> None:
        found = answered(body("EMULATE: text=a", history=[user("x" * 40_000), assistant()]))
        assert payload_of(found, "metadataEvent")["tokenUsage"]["cacheReadInputTokens"] > 5_000

    def test_the_window_is_that_of_the_answering_model(self) -> None:
        found = answered(body("EMULATE: text=" + "y" * 4_000, model="auto"))
        assert payload_of(found, "assistantResponseEvent")["modelId"] == "claude-sonnet-4.5"
        usage = payload_of(found, "metadataEvent")["tokenUsage"]
        percentage = payload_of(found, "contextUsageEvent")["contextUsagePercentage"]
        assert percentage == pytest.approx(usage["totalTokens"] / 2_000, abs=0.001)

    def test_max_tokens_cuts_the_text(self) -> None:
        found = answered(body("EMULATE: text=" + "é" * 40, model="claude-opus-5", fields={"max_tokens": 5}))
        assert text_of(found) == "é" * 10
        assert payload_of(found, "metadataEvent")["stopReason"] == "MAX_TOKENS"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_every_model_lists_itself(model: Model) -> None:
    listing = json.loads(json.dumps(model.listing()))
    assert listing["tokenLimits"]["maxInputTokens"] == model.window
    assert ("additionalModelRequestFieldsSchema" in listing) == bool(model.efforts)
    assert ("IMAGE" in listing["supportedInputTypes"]) == model.images


def test_auto_is_answered_by_what_there_is() -> None:
    auto, glm = find_model(MODELS, "auto"), find_model(MODELS, "glm-5")
    assert auto is not None
    assert glm is not None
    assert answering_model((auto, glm), auto) == glm
    assert answering_model((auto,), auto) == auto
