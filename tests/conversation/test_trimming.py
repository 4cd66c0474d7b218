"""Conversations that do not fit."""

import msgspec
import pytest

from kiro.conversation.counting import estimate_conversation
from kiro.conversation.messages import Conversation, Message, Text, ToolCall, ToolResult
from kiro.conversation.trimming import MARKER, trim


def user(text):
    return Message("user", (Text(text),))


def assistant(text):
    return Message("assistant", (Text(text),))


def tool_round(number):
    call = ToolCall(f"t{number}", "run", msgspec.Raw(b"{}"))
    return (
        user(f"do {number}"),
        Message("assistant", (call,)),
        Message("user", (ToolResult(f"t{number}", (Text("x" * 2000),)),)),
        assistant("done"),
    )


def long_talk(rounds):
    messages = [user("the task"), assistant("yes")]
    for number in range(rounds):
        messages += tool_round(number)
    return Conversation("m", (*messages, user("and now?")))


def test_whole_rounds_go_and_the_task_stays():
    conversation = long_talk(20)
    trimmed = trim(conversation, 0.5)
    messages = trimmed.conversation.messages
    assert messages[0] == user("the task")
    assert messages[2] == user(MARKER)
    assert messages[-1] == user("and now?")
    assert estimate_conversation(trimmed.conversation) <= estimate_conversation(conversation) * 0.55
    assert len(messages) == len(conversation.messages) - len(trimmed.removed) + 1
    calls = {part.id for message in messages for part in message.parts if isinstance(part, ToolCall)}
    results = {part.call_id for message in messages for part in message.parts if isinstance(part, ToolResult)}
    assert calls == results


def test_the_next_turn_is_cut_at_the_same_place():
    first = trim(long_talk(20), 0.5).conversation.messages
    second = trim(long_talk(21), 0.5).conversation.messages
    assert first[3] == second[3]


@pytest.mark.parametrize(
    "messages", [(user("x" * 9000),), (user("a"), assistant("b"), user("c"))], ids=["one turn", "two turns"]
)
def test_what_cannot_be_shortened_is_left(messages):
    assert trim(Conversation("m", messages), 0.5) is None


def test_the_last_round_always_stays():
    trimmed = trim(long_talk(30), 0.0)
    assert trimmed.conversation.messages[-1] == user("and now?")
