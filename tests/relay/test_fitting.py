"""Conversations that do not fit, made shorter step by step."""

import msgspec
import pytest

from kiro.conversation.counting import estimate_conversation
from kiro.conversation.messages import Conversation, Message, Text, ToolCall, ToolResult
from kiro.errors import ContextOverflow, NetworkFailed
from kiro.relay.fitting import Fitting, Summaries


def user(text):
    return Message("user", (Text(text),))


def assistant(text):
    return Message("assistant", (Text(text),))


def talk(rounds=40):
    messages = [user("the task"), assistant("yes")]
    for number in range(rounds):
        call = ToolCall(f"t{number}", "run", msgspec.Raw(b'{"command":"make"}'))
        messages += [
            user(f"do {number}"),
            Message("assistant", (call,)),
            Message("user", (ToolResult(f"t{number}", (Text(f"output {number} " + "x" * 500),)),)),
            assistant(f"done {number}"),
        ]
    return Conversation("claude-sonnet-4.5", (*messages, user("and now?")))


class Model:
    """Answers every question for a summary; remembers what it was asked."""

    def __init__(self, answer="The build was mended."):
        self.asked = []
        self.answer = answer

    async def __call__(self, conversation):
        self.asked.append(conversation)
        if self.answer is None:
            raise NetworkFailed("Kiro cannot be reached.")
        return self.answer


def fitting(how, model=None, *, summaries=None, models=("claude-haiku-4.5",)):
    return Fitting(how, summaries or Summaries(), lambda: frozenset(models), model or Model())


def texts(conversation):
    return [part.text for message in conversation.messages for part in message.parts if isinstance(part, Text)]


WHOLE = talk()
TOO_LONG = ContextOverflow(estimate_conversation(WHOLE), estimate_conversation(WHOLE) * 2 // 3)


async def test_error_leaves_it_to_the_client():
    assert await fitting("error").shorten(WHOLE, TOO_LONG) is None


async def test_trimming_aims_at_four_fifths_of_the_window_and_lower_each_time():
    trimming = fitting("trim")
    sizes = []
    for _ in range(3):
        shorter = await trimming.shorten(WHOLE, TOO_LONG)
        sizes.append(estimate_conversation(shorter.conversation))
        assert shorter.conversation.messages[0] == user("the task")
        assert shorter.conversation.messages[-1] == user("and now?")
        assert shorter.removed == len(WHOLE.messages) + 1 - len(shorter.conversation.messages)
    assert sizes[0] <= TOO_LONG.limit * 0.8
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3
    assert await trimming.shorten(WHOLE, TOO_LONG) is None


async def test_a_summary_stands_where_rounds_are_missing():
    model = Model()
    shorter = await fitting("summarise", model).shorten(WHOLE, TOO_LONG)
    (asked,) = model.asked
    assert asked.model == "claude-haiku-4.5"
    assert "output 0" in asked.messages[0].parts[0].text
    assert '[calls run with {"command":"make"}]' in asked.messages[0].parts[0].text
    (told,) = [text for text in texts(shorter.conversation) if "The build was mended." in text]
    assert told.startswith("[Earlier parts")


async def test_the_same_parts_are_summarised_once():
    model, summaries = Model(), Summaries()
    await fitting("summarise", model, summaries=summaries).shorten(WHOLE, TOO_LONG)
    await fitting("summarise", model, summaries=summaries).shorten(WHOLE, TOO_LONG)
    assert len(model.asked) == 1


async def test_without_a_small_model_the_same_one_is_asked():
    model = Model()
    await fitting("summarise", model, models=()).shorten(WHOLE, TOO_LONG)
    assert model.asked[0].model == WHOLE.model


@pytest.mark.parametrize("answer", [None, "  "], ids=["a failure", "an empty summary"])
async def test_without_a_summary_it_is_trimmed(answer):
    shorter = await fitting("summarise", Model(answer)).shorten(WHOLE, TOO_LONG)
    trimmed = await fitting("trim").shorten(WHOLE, TOO_LONG)
    assert shorter.conversation == trimmed.conversation


async def test_one_turn_cannot_be_shortened():
    alone = Conversation("m", (user("x" * 9000),))
    assert await fitting("trim").shorten(alone, ContextOverflow(3000, 2000)) is None
