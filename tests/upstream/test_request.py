"""What goes over the wire to Kiro, whatever was said."""

import json
import uuid

import msgspec
import pytest
from hypothesis import given, settings

from kiro.conversation.messages import (
    Document,
    DocumentFile,
    Image,
    ImageLink,
    OutputFormat,
    RedactedThinking,
    Thinking,
    ThinkingWish,
)
from kiro.emulator import signatures
from kiro.emulator.validation import validate
from kiro.upstream import media
from kiro.upstream.catalogue import KNOWN_MODELS
from kiro.upstream.request import ACKNOWLEDGEMENT, AGENTIC_HINT, build, session_ids, with_profile
from kiro.upstream.thinking import wrap
from support.conversations import ONE_PIXEL, assistant, call, conversations, result, said, tool, user

MODELS = {model.id: model for model in KNOWN_MODELS}


def request(conversation, **more):
    return build(
        conversation, MODELS[conversation.model], conversation_id="c", continuation_id="k", origin="AI_EDITOR", **more
    )


def body(conversation, **more):
    return json.loads(request(conversation, **more).body)


def turns(conversation, **more):
    state = body(conversation, **more)["conversationState"]
    entries = [*state.get("history", []), state["currentMessage"]]
    return [entry.get("userInputMessage") or entry["assistantResponseMessage"] for entry in entries]


def test_the_smallest_request():
    assert body(said(user("Hi"))) == {
        "conversationState": {
            "chatTriggerType": "MANUAL",
            "agentTaskType": "vibe",
            "conversationId": "c",
            "agentContinuationId": "k",
            "currentMessage": {
                "userInputMessage": {"content": "Hi", "modelId": "claude-sonnet-4.5", "origin": "AI_EDITOR"}
            },
        }
    }


def test_system_texts_are_a_first_exchange_of_their_own():
    first, second, third = turns(said(user("Hi"), system=("One.", "Two.")))
    assert first["content"] == "One.\n\nTwo."
    assert second["content"] == ACKNOWLEDGEMENT
    assert third["content"] == "Hi"


def test_a_call_without_words_gets_a_blank():
    assert turns(said(user("go"), assistant(call("t1")), user(result("t1", "A")), tools=(tool(),)))[1]["content"] == " "


def test_an_empty_result_says_so():
    turn = turns(said(user("go"), assistant(call("t1")), user(result("t1")), tools=(tool(),)))[-1]
    assert turn["userInputMessageContext"]["toolResults"][0]["content"] == [{"text": "(no output)"}]


def test_a_picture_in_a_result_moves_to_its_turn():
    turn = turns(said(user("go"), assistant(call("t1")), user(result("t1", "shot", Image(ONE_PIXEL, "image/jpeg")))))[
        -1
    ]
    assert turn["images"] == [{"format": "png", "source": {"bytes": ONE_PIXEL}}]
    assert turn["userInputMessageContext"]["toolResults"][0]["content"] == [{"text": "shot\n[image attached]"}]


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (Image("AAAA", "image/png"), "no known picture type"),
        (ImageLink("https://example.com/x"), "https://example.com/x"),
        (DocumentFile("report", "application/pdf", ""), "report"),
        (Document("Spec", "alpha"), '<document title="Spec">\nalpha\n</document>'),
    ],
    ids=["a picture of no known type", "a link nobody fetched", "a file nobody opened", "a document"],
)
def test_what_cannot_go_as_itself_goes_as_text(part, told):
    assert told in turns(said(user(part, "see")))[-1]["content"]


def test_a_model_that_cannot_see_is_told_so():
    asked = request(said(user(Image(ONE_PIXEL, "image/png"), "see"), model="glm-5"))
    assert b'"images"' not in asked.body
    assert "cannot see" in asked.notes[0]


def test_a_huge_result_keeps_head_and_tail():
    asked = request(said(user("go"), assistant(call("t1")), user(result("t1", "a" * 300_000 + "z" * 300_000))))
    text = json.loads(asked.body)["conversationState"]["currentMessage"]["userInputMessage"]["userInputMessageContext"][
        "toolResults"
    ][0]["content"][0]["text"]
    assert text.startswith("aaa")
    assert text.endswith("zzz")
    assert 399_000 < len(text) <= 400_000
    assert asked.notes


class TestThinkingInHistory:
    OPUS = "claude-opus-5"
    SIGNED = Thinking("plan", wrap("claude-opus", signatures.sign("claude-opus", "plan")))

    def reasoning(self, *messages, **more):
        conversation = said(*messages, model=self.OPUS, tools=(tool(),), **more)
        return [turn.get("reasoningContent") for turn in turns(conversation) if "modelId" not in turn]

    def test_signed_thinking_of_the_open_loop_goes_back(self):
        messages = (
            user("go"),
            assistant(self.SIGNED, call("t1")),
            user(result("t1", "A"), "<system-reminder>x</system-reminder>"),
            assistant(self.SIGNED, call("t2")),
            user(result("t2", "B")),
        )
        signature = signatures.sign("claude-opus", "plan")
        assert self.reasoning(*messages) == [{"reasoningText": {"text": "plan", "signature": signature}}] * 2
        assert validate(request(said(*messages, model=self.OPUS, tools=(tool(),))).body) is None

    def test_thinking_before_the_last_thing_the_user_said_does_not(self):
        assert self.reasoning(user("go"), assistant(self.SIGNED, "done"), user("and now?")) == [None]

    @pytest.mark.parametrize(
        "foreign",
        [
            Thinking("plan", None),
            Thinking("plan", "ErUBCkYI"),
            Thinking("plan", wrap("gpt", "sig")),
            Thinking("plan", "unsigned"),
        ],
        ids=["unsigned", "somebody else's", "another family's", "our placeholder"],
    )
    def test_foreign_thinking_does_not(self, foreign):
        assert self.reasoning(user("go"), assistant(foreign, call("t1")), user(result("t1", "A"))) == [None]

    def test_none_goes_back_when_thinking_is_off(self):
        messages = (user("go"), assistant(self.SIGNED, call("t1")), user(result("t1", "A")))
        assert self.reasoning(*messages, thinking=ThinkingWish("off")) == [None]

    def test_redacted_thinking_goes_back_in_the_open_round_only(self):
        redacted = RedactedThinking(wrap("claude-opus", signatures.redact("claude-opus")))
        messages = (
            user("go"),
            assistant(redacted, call("t1")),
            user(result("t1", "A")),
            assistant(redacted, call("t2")),
            user(result("t2", "B")),
        )
        assert self.reasoning(*messages) == [None, {"redactedContent": signatures.redact("claude-opus")}]


def test_thinking_tags_stand_before_the_system_text():
    asked = request(said(user("go"), system=("Base.",), thinking=ThinkingWish("on", 4000)))
    first = json.loads(asked.body)["conversationState"]["history"][0]["userInputMessage"]["content"]
    assert first == "<thinking_mode>enabled</thinking_mode><max_thinking_length>4000</max_thinking_length>\n\nBase."
    assert asked.tags


def test_a_schema_for_the_answer_is_told_in_the_current_turn_only():
    conversation = said(user("go"), output_format=OutputFormat(msgspec.Raw(b'{"type":"object"}')))
    assert turns(conversation)[0]["content"].startswith("go\n\nAnswer with one JSON value")
    assert '{"type":"object"}' in turns(conversation)[0]["content"]


def test_the_agentic_hint_is_given_on_demand_only():
    conversation = said(user("go"), tools=(tool(),))
    assert AGENTIC_HINT in turns(conversation, agentic=True)[0]["content"]
    assert AGENTIC_HINT not in request(conversation).body.decode()


def test_the_profile_is_spliced_in():
    asked = request(said(user("go")))
    assert json.loads(with_profile(asked.body, "arn:x")) == {**json.loads(asked.body), "profileArn": "arn:x"}
    assert with_profile(asked.body, None) is asked.body


class TestSessionIds:
    def test_they_stay_the_same_as_the_session_grows(self):
        model = MODELS["claude-sonnet-4.5"]
        first = session_ids(said(user("a"), session="s"), model)
        assert first == session_ids(said(user("a"), assistant("b"), user("c"), session="s", system=("other",)), model)
        assert [uuid.UUID(one).version for one in first] == [5, 5]
        assert first[0] != first[1]

    def test_agents_that_share_a_session_have_conversations_of_their_own(self):
        model = MODELS["claude-sonnet-4.5"]
        assert session_ids(said(user("a"), session="s"), model) != session_ids(said(user("b"), session="s"), model)

    def test_without_a_session_model_and_system_text_tell_them_apart(self):
        model = MODELS["claude-sonnet-4.5"]
        ids = {session_ids(said(user("a"), system=(text,)), model) for text in ("x", "y")}
        assert len(ids) == 2


def test_a_picture_costs_by_its_area_not_by_its_bytes():
    small = request(said(user("see"))).estimate
    assert 250 < request(said(user(Image(ONE_PIXEL, "image/png"), "see"))).estimate - small < 300


@settings(max_examples=300)
@given(conversations)
def test_kiro_takes_whatever_a_client_can_say(conversation):
    """Signatures aside: the emulator knows which ones it made."""
    model = MODELS[conversation.model]
    prepared = media.prepare(conversation, model, {})
    silent = msgspec.structs.replace(prepared, thinking=msgspec.structs.replace(prepared.thinking, mode="off"))
    asked = build(silent, model, conversation_id="c", continuation_id="k", origin="AI_EDITOR")
    refusal = validate(asked.body)
    assert refusal is None, refusal.why
    assert asked.body == build(silent, model, conversation_id="c", continuation_id="k", origin="AI_EDITOR").body


@settings(max_examples=100)
@given(conversations)
def test_what_nobody_prepared_is_taken_too(conversation):
    model = MODELS[conversation.model]
    silent = msgspec.structs.replace(conversation, thinking=ThinkingWish("off"))
    refusal = validate(build(silent, model, conversation_id="c", continuation_id="k", origin="KIRO_CLI").body)
    assert refusal is None, refusal.why
