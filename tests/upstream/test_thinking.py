"""How a wish for thinking becomes a request, per kind of model."""

import msgspec
import pytest

from kiro.conversation.messages import ThinkingWish
from kiro.upstream.catalogue import KNOWN_MODELS, Model
from kiro.upstream.thinking import Fields, Tags, ask, family, loop_start, unwrap, without_thinking, wrap
from support.conversations import assistant, call, result, said, user

MODELS = {model.id: model for model in KNOWN_MODELS}
SWITCHABLE = msgspec.structs.replace(MODELS["claude-opus-5"], thinking_types=("adaptive", "disabled"))
ADAPTIVE = {"type": "adaptive", "display": "summarized"}

WISHES = {
    "nothing said, nothing sent": ("claude-opus-5", ThinkingWish(), None),
    "an effort alone": ("claude-opus-5", ThinkingWish(effort="xhigh"), {"output_config": {"effort": "xhigh"}}),
    "an effort the model lacks becomes the next one up": (
        "claude-opus-4.6",
        ThinkingWish(effort="xhigh"),
        {"output_config": {"effort": "max"}},
    ),
    "adaptive": ("claude-opus-5", ThinkingWish("adaptive"), {"thinking": ADAPTIVE}),
    "adaptive, hidden": (
        "claude-opus-5",
        ThinkingWish("adaptive", show=False),
        {"thinking": {"type": "adaptive", "display": "omitted"}},
    ),
    "a small budget is little effort": (
        "claude-opus-5",
        ThinkingWish("on", 4000),
        {"thinking": ADAPTIVE, "output_config": {"effort": "low"}},
    ),
    "a middling budget": (
        "claude-opus-5",
        ThinkingWish("on", 12_000),
        {"thinking": ADAPTIVE, "output_config": {"effort": "medium"}},
    ),
    "a large budget": (
        "claude-opus-5",
        ThinkingWish("on", 31_999),
        {"thinking": ADAPTIVE, "output_config": {"effort": "xhigh"}},
    ),
    "a budget's effort the model lacks becomes the next one down": (
        "claude-sonnet-4.6",
        ThinkingWish("on", 31_999),
        {"thinking": ADAPTIVE, "output_config": {"effort": "high"}},
    ),
    "a named effort beats the budget": (
        "claude-opus-5",
        ThinkingWish("on", 4000, "max"),
        {"thinking": ADAPTIVE, "output_config": {"effort": "max"}},
    ),
    "off, where it cannot be switched off": ("claude-opus-5", ThinkingWish("off"), None),
    "gpt takes efforts under another name": (
        "gpt-5.6-sol",
        ThinkingWish(effort="high"),
        {"reasoning": {"effort": "high"}},
    ),
    "gpt can be switched off": ("gpt-5.6-sol", ThinkingWish("off"), {"reasoning": {"effort": "none"}}),
    "an effort means nothing to an old model": ("claude-opus-4.5", ThinkingWish(effort="high"), None),
    "an unknown model is asked for nothing": ("auto", ThinkingWish("on", 4000), None),
}


@pytest.mark.parametrize(("model", "wish", "fields"), WISHES.values(), ids=WISHES)
def test_wish(model, wish, fields):
    asked = ask(said(user("go"), thinking=wish), MODELS[model])
    assert asked == (None if fields is None else Fields(fields))


def test_off_is_said_where_the_schema_has_it_and_lowers_the_effort():
    asked = ask(said(user("go"), thinking=ThinkingWish("off", None, "max")), SWITCHABLE)
    assert asked == Fields({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}})


@pytest.mark.parametrize(("budget", "sent"), [(None, 20_000), (4000, 4000), (31_999, 24_576)])
@pytest.mark.parametrize("mode", ["on", "adaptive"])
def test_old_models_are_asked_by_tags(mode, budget, sent):
    asked = ask(said(user("go"), thinking=ThinkingWish(mode, budget)), MODELS["claude-sonnet-4.5"])
    assert asked == Tags(f"<thinking_mode>enabled</thinking_mode><max_thinking_length>{sent}</max_thinking_length>")


def test_a_model_whose_fields_were_refused_gets_neither_fields_nor_tags():
    bare = msgspec.structs.replace(MODELS["claude-opus-5"], efforts=(), thinking_types=())
    assert ask(said(user("go"), thinking=ThinkingWish("on", 4000)), bare) is None


def test_max_tokens_is_sent_where_the_schema_lists_it_and_it_limits():
    model = Model("m", max_output=64_000, efforts=("low",), native_max_tokens=True, takes_fields=True)
    assert ask(said(user("go"), max_tokens=1000), model) == Fields({"max_tokens": 1000})
    assert ask(said(user("go"), max_tokens=64_000), model) is None


class TestEnvelope:
    def test_it_comes_back_to_its_own_family(self):
        assert unwrap(wrap("claude-opus", "sig.na.ture"), "claude-opus") == "sig.na.ture"

    @pytest.mark.parametrize("text", [None, "", "ErUB", "kp1.", "kp1.claude-opus.", "kp1.gpt.sig", "unsigned"])
    def test_anything_else_does_not(self, text):
        assert unwrap(text, "claude-opus") is None

    def test_a_dot_in_the_family_is_no_border(self):
        assert unwrap(wrap("minimax-m2.5", "sig"), "minimax-m2") is None
        assert unwrap(wrap("minimax-m2.5", "sig"), "minimax-m2.5") == "sig"

    @pytest.mark.parametrize(
        ("model", "its_family"),
        [
            ("claude-opus-4.8", "claude-opus"),
            ("claude-opus-5", "claude-opus"),
            ("gpt-5.6-sol", "gpt"),
            ("auto", "auto"),
        ],
    )
    def test_a_family_is_the_id_without_its_version(self, model, its_family):
        assert family(model) == its_family


def test_the_loop_begins_at_the_last_turn_that_answers_no_call():
    messages = (
        user("a"),
        assistant("b"),
        user("c"),
        assistant(call("1")),
        user(result("1"), "note"),
        assistant(call("2")),
        user(result("2")),
    )
    assert loop_start(messages) == 2


def test_thinking_can_be_taken_out():
    from kiro.conversation.messages import RedactedThinking, Thinking

    conversation = said(user("a"), assistant(Thinking("x", "s"), "b", RedactedThinking("r")))
    assert without_thinking(conversation) == said(user("a"), assistant("b"))
