"""Histories as clients keep them, made into histories as Kiro accepts them.

Kiro wants: a user turn first, strict alternation, a user turn last, every tool call answered in the
very next user turn in the order of the calls, no other results, ids unique over the whole history,
something said in every turn. Clients break each of these daily (interrupted tools, merged or split
turns, reused ids, trimmed beginnings), and Kiro's answer is one text for all of it: "Improperly
formed request".

`REPAIRS` are the mendings in order. Each takes a conversation and gives one, never reorders what
the user said, never invents words of the assistant, and leaves what is right exactly as it is
(the same objects), so that a repaired history repairs to itself and prefixes stay cacheable.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from kiro.conversation.messages import (
    Conversation,
    Document,
    Image,
    ImageLink,
    Message,
    OutputFormat,
    Part,
    RedactedThinking,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from kiro.reading import well_formed
from kiro.upstream.pairing import pair_results

REMINDER_OPEN: Final = "<system-reminder>\n"
REMINDER_CLOSE: Final = "\n</system-reminder>"
LEADING_USER: Final = "."
CONTINUE: Final = "Continue"
CONTINUE_PREFILL: Final = "Continue exactly from the end of your previous message; do not repeat it."
BLANK: Final = " "

_HALF_CHARACTER: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_ASSISTANT_SAYS: Final = (Text, Thinking, RedactedThinking, ToolCall)
_PARAGRAPH: Final = Text("")
"""Parts are joined by line breaks; an empty one between two turns makes a blank line."""


def repair(conversation: Conversation) -> Conversation:
    """The conversation as Kiro accepts it. Repairing twice is the same as repairing once."""
    if _is_plain_talk(conversation.messages):
        return conversation
    for mend in REPAIRS:
        conversation = mend(conversation)
    return conversation


def _is_plain_talk(messages: Sequence[Message]) -> bool:
    """Turns of one text each, in order: nothing to repair, and the most common request."""
    if len(messages) % 2 == 0:
        return False
    for place, message in enumerate(messages):
        if message.role != ("assistant" if place % 2 else "user") or len(message.parts) != 1:
            return False
        part = message.parts[0]
        if type(part) is not Text or not part.text.strip():
            return False
    return True


def _with(conversation: Conversation, messages: Sequence[Message]) -> Conversation:
    return msgspec.structs.replace(conversation, messages=tuple(messages))


def reminders_stay_in_place(conversation: Conversation) -> Conversation:
    """System text in the middle becomes user text in tags: lifting it to the top breaks order and cache."""
    if not any(message.role == "system" for message in conversation.messages):
        return conversation
    return _with(
        conversation,
        [_as_reminder(message) if message.role == "system" else message for message in conversation.messages],
    )


def _as_reminder(message: Message) -> Message:
    text = "\n".join(part.text for part in message.parts if isinstance(part, Text | Document))
    others = tuple(
        part for part in message.parts if not isinstance(part, Text | Document | Thinking | RedactedThinking)
    )
    said = (Text(REMINDER_OPEN + text + REMINDER_CLOSE),) if text.strip() else ()
    return Message("user", (*said, *others))


def parts_on_their_own_side(conversation: Conversation) -> Conversation:
    """What only the other side may say becomes text: calls of the user, results and pictures of the assistant."""
    messages = conversation.messages
    mended = [message if _speaks_its_part(message) else _own_side(message) for message in messages]
    return conversation if all(map(_same, messages, mended)) else _with(conversation, mended)


def _speaks_its_part(message: Message) -> bool:
    if message.role == "assistant":
        return all(type(part) in _ASSISTANT_SAYS for part in message.parts)
    return not any(type(part) in (ToolCall, Thinking, RedactedThinking) for part in message.parts)


def _own_side(message: Message) -> Message:
    parts: list[Part] = []
    for part in message.parts:
        if message.role == "assistant":
            parts.append(part if isinstance(part, _ASSISTANT_SAYS) else Text(_told(part)))
        elif isinstance(part, ToolCall):
            parts.append(Text(_told(part)))
        elif not isinstance(part, Thinking | RedactedThinking):
            parts.append(part)
    return Message(message.role, tuple(parts))


def _told(part: Part) -> str:
    """A part as plain text, where it cannot stand as itself."""
    match part:
        case Text(text=text) | Document(text=text):
            return text
        case ToolCall():
            return f"[call of {part.name}: {bytes(part.input).decode('utf-8', 'replace')}]"
        case ToolResult():
            return "\n".join(["[tool result]", *(_told(inner) for inner in part.parts)])
        case Image():
            return "[image omitted]"
        case ImageLink(url=url):
            return f"[image: {url}]"
        case _:
            return f"[{type(part).__name__} omitted]"


def _same(before: object, after: object) -> bool:
    return before is after


def silent_assistants_drop(conversation: Conversation) -> Conversation:
    """An assistant turn without words and calls (only thinking, or aborted) is no turn."""
    kept = [message for message in conversation.messages if message.role != "assistant" or _says_something(message)]
    return conversation if len(kept) == len(conversation.messages) else _with(conversation, kept)


def _says_something(message: Message) -> bool:
    for part in message.parts:
        if isinstance(part, ToolCall) or (isinstance(part, Text) and not _is_blank(part.text)):
            return True
    return False


def _is_blank(text: str) -> bool:
    return not text or text.isspace()


def json_prefill_becomes_json_mode(conversation: Conversation) -> Conversation:
    """A bare `{` as the beginning of the answer asks for a JSON object; Kiro cannot be prefilled."""
    last = conversation.messages[-1] if conversation.messages else None
    if last is None or last.role != "assistant" or len(conversation.messages) < 2:
        return conversation
    if [part for part in last.parts if not isinstance(part, Text)] or _text_of(last).strip() != "{":
        return conversation
    wanted = conversation.output_format or OutputFormat(None)
    return msgspec.structs.replace(conversation, messages=conversation.messages[:-1], output_format=wanted)


def _text_of(message: Message) -> str:
    return "\n".join(part.text for part in message.parts if isinstance(part, Text))


def neighbours_merge(conversation: Conversation) -> Conversation:
    """Turns of the same role in a row become one, with a blank line between their texts. No turn is invented."""
    messages = conversation.messages
    previous = None
    for message in messages:
        if message.role == previous:
            break
        previous = message.role
    else:
        return conversation
    merged: list[Message] = []
    run: list[Message] = []
    for message in messages:
        if run and message.role != run[0].role:
            merged.append(_joined(run))
            run = []
        run.append(message)
    merged.append(_joined(run))
    return _with(conversation, merged)


def _joined(run: Sequence[Message]) -> Message:
    if len(run) == 1:
        return run[0]
    parts: list[Part] = []
    speaks = False
    for message in run:
        texts = any(isinstance(part, Text | Document) for part in message.parts)
        if speaks and texts:
            parts.append(_PARAGRAPH)
        speaks = speaks or texts
        parts += message.parts
    return Message(run[0].role, tuple(parts))


def inputs_are_objects(conversation: Conversation) -> Conversation:
    """A call's input that is not a JSON object is parsed if it is one as text, else wrapped as `{"input": …}`."""
    messages = conversation.messages
    mended = [message if message.role != "assistant" else _with_objects(message) for message in messages]
    return conversation if all(map(_same, messages, mended)) else _with(conversation, mended)


def _with_objects(message: Message) -> Message:
    changed = False
    parts: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolCall):
            raw = bytes(part.input)
            if raw[:1] != b"{" or (b"\\u" in raw and _HALF_CHARACTER.search(raw)):
                mended = _as_object(raw)
                changed = changed or mended != raw
                parts.append(ToolCall(part.id, part.name, msgspec.Raw(mended)))
                continue
        parts.append(part)
    return Message(message.role, tuple(parts)) if changed else message


def _as_object(raw: bytes) -> bytes:
    """The JSON text of an object for any input, halves of characters replaced."""
    try:
        value = json.loads(raw.decode("utf-8", "replace"))
    except ValueError:
        value = raw.decode("utf-8", "replace")
    if isinstance(value, str):
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            inner = None
        value = inner if isinstance(inner, dict) else value
    if not isinstance(value, dict):
        value = {} if value is None or value == "" else {"input": value}
    return json.dumps(well_formed(value), ensure_ascii=False, separators=(",", ":")).encode()


def results_answer_calls(conversation: Conversation) -> Conversation:
    """Every call is answered by the next user turn, in order, under an id of its own; see `pairing`."""
    messages = conversation.messages
    paired = pair_results(messages)
    return conversation if paired is messages else _with(conversation, paired)


def user_speaks_first(conversation: Conversation) -> Conversation:
    """An assistant's opening gets a user turn before it, of one dot: the one filler no model comments on."""
    messages = conversation.messages
    if not messages or messages[0].role != "assistant":
        return conversation
    return _with(conversation, (Message("user", (Text(LEADING_USER),)), *messages))


def user_speaks_last(conversation: Conversation) -> Conversation:
    """The answer's beginning stays in the history; the current turn asks to go on from its end."""
    messages = conversation.messages
    if not messages:
        return _with(conversation, (Message("user", (Text(CONTINUE),)),))
    if messages[-1].role != "assistant":
        return conversation
    return _with(conversation, (*messages, Message("user", (Text(CONTINUE_PREFILL),))))


def turns_say_something(conversation: Conversation) -> Conversation:
    """A user turn without words, results and pictures gets a blank in history, and "Continue" as the current turn."""
    messages = conversation.messages
    silent = [at for at, message in enumerate(messages) if message.role == "user" and not _is_said(message)]
    if not silent:
        return conversation
    mended = list(messages)
    for at in silent:
        text = Text(CONTINUE if at == len(messages) - 1 else BLANK)
        if mended[at].parts != (text,):
            mended[at] = Message("user", (text,))
    return conversation if all(map(_same, messages, mended)) else _with(conversation, mended)


def _is_said(message: Message) -> bool:
    return any(not (isinstance(part, Text) and _is_blank(part.text)) for part in message.parts)


REPAIRS: Final[tuple[Callable[[Conversation], Conversation], ...]] = (
    reminders_stay_in_place,
    parts_on_their_own_side,
    silent_assistants_drop,
    neighbours_merge,
    json_prefill_becomes_json_mode,
    inputs_are_objects,
    results_answer_calls,
    user_speaks_first,
    user_speaks_last,
    turns_say_something,
)
