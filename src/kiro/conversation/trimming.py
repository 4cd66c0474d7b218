"""Shortens a conversation that does not fit, for clients that cannot do it themselves.

Whole rounds go, oldest first: from one thing the user said to the next, with every call and result
between them, so that nothing is left half. The first thing the user said stays, because it is
usually the task; a marker stands where rounds are missing. How many go is rounded up to steps, so
that the next turns of the same conversation are cut at the same place and Kiro's prompt cache holds.
"""

from typing import Final

import msgspec

from kiro.conversation.counting import estimate_conversation
from kiro.conversation.messages import Conversation, Message, Text, ToolResult

MARKER: Final = "[Earlier parts of this conversation were removed because it had grown too long.]"
_STEP: Final = 4


class Trimmed(msgspec.Struct, frozen=True):
    """The shorter conversation, and the messages that it lacks."""

    conversation: Conversation
    removed: tuple[Message, ...]


def trim(conversation: Conversation, share: float, marker: str = MARKER) -> Trimmed | None:
    """The conversation cut to `share` (0…1) of its estimated tokens; None when nothing can go.

    System texts and tools stay, so what goes makes room for them, too.
    """
    rounds = _rounds(conversation.messages)
    if len(rounds) < 3:
        return None
    sizes = [_size(conversation, messages) for messages in rounds]
    excess = estimate_conversation(conversation) * (1 - share)
    going = 0
    freed = 0
    while going < len(rounds) - 2 and freed < excess:
        going += 1
        freed += sizes[going]
    going = min(-(-going // _STEP) * _STEP, len(rounds) - 2)
    removed = tuple(message for messages in rounds[1 : 1 + going] for message in messages)
    kept = (
        *rounds[0],
        Message("user", (Text(marker),)),
        *(message for messages in rounds[1 + going :] for message in messages),
    )
    return Trimmed(msgspec.structs.replace(conversation, messages=kept), removed)


def _rounds(messages: tuple[Message, ...]) -> list[tuple[Message, ...]]:
    """Messages in groups, each beginning with something the user said."""
    rounds: list[list[Message]] = []
    for message in messages:
        if not rounds or _is_said_by_user(message):
            rounds.append([])
        rounds[-1].append(message)
    return [tuple(group) for group in rounds]


def _is_said_by_user(message: Message) -> bool:
    return message.role == "user" and not any(isinstance(part, ToolResult) for part in message.parts)


def _size(conversation: Conversation, messages: tuple[Message, ...]) -> int:
    return estimate_conversation(msgspec.structs.replace(conversation, messages=messages, system=(), tools=()))
