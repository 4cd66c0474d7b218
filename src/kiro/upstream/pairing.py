"""Which tool result answers which tool call, whatever the ids say.

Kiro wants the results of an assistant turn in the very next user turn, all of them, in the order of
the calls, under ids that are unique over the whole history. Clients reuse ids, answer out of order,
late, twice or not at all, and keep results whose calls they have trimmed away.

Two walks. The first gives every call a `_Slot` and puts every result into one (or leaves it without).
The second writes the turns anew: calls under their new ids, each following user turn with the results
of the turn before it, then everything else the user said, in order.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from kiro.conversation.messages import Message, Part, RedactedThinking, Text, Thinking, ToolCall, ToolResult

NO_RESULT: Final = "No result was recorded for this call."

_NOT_THE_USERS: Final = (ToolCall, ToolResult, Thinking, RedactedThinking)
_LEGAL_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_-]")


class _Slot(msgspec.Struct):
    """One call: the turn it stands in, its new id, and what answers it."""

    turn: int
    call: ToolCall
    id: str
    results: list[ToolResult]


def pair_results(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns with every call answered; `messages` itself when nothing has to change.

    `messages` alternate. A last assistant turn with calls gets a user turn after it.
    """
    if _is_paired(messages):
        return messages
    slots, orphans = _assign(messages)
    paired: list[Message] = []
    for turn, message in enumerate(messages):
        if message.role == "assistant":
            paired.append(_renamed(message, slots.get(turn, ())))
            if turn == len(messages) - 1 and turn in slots:
                paired.append(Message("user", tuple(_answer(slot) for slot in slots[turn])))
        else:
            paired.append(_answered(message, turn, slots.get(turn - 1, ()), orphans))
    return tuple(paired)


def _is_paired(messages: Sequence[Message]) -> bool:
    """Everything is in order already: the usual case, and the cheap one."""
    seen: set[str] = set()
    expected: list[str] = []
    for message in messages:
        if message.role != "assistant":
            answered = [part.call_id for part in message.parts if isinstance(part, ToolResult)]
            if answered != expected or any(isinstance(part, ToolResult) for part in message.parts[len(answered) :]):
                return False
            expected = []
            continue
        expected = [part.id for part in message.parts if isinstance(part, ToolCall)]
        for call_id in expected:
            if call_id in seen or not _LEGAL_ID.match(call_id):
                return False
            seen.add(call_id)
    return not expected


def _assign(messages: Sequence[Message]) -> tuple[dict[int, list[_Slot]], set[tuple[int, int]]]:
    """Every call with its results, by turn; and the places of the results that answer no call."""
    originals = {part.id for message in messages for part in message.parts if type(part) is ToolCall}
    taken: set[str] = set()
    slots: dict[int, list[_Slot]] = {}
    by_id: dict[str, list[_Slot]] = {}
    orphans: set[tuple[int, int]] = set()
    for turn, message in enumerate(messages):
        for at, part in enumerate(message.parts):
            if isinstance(part, ToolCall) and message.role == "assistant":
                slot = _Slot(turn, part, _new_id(part.id, turn, at, taken, originals), [])
                taken.add(slot.id)
                slots.setdefault(turn, []).append(slot)
                by_id.setdefault(part.id, []).append(slot)
            elif isinstance(part, ToolResult):
                found = _slot_for(part, turn, by_id, slots)
                if found is None:
                    orphans.add((turn, at))
                else:
                    found.results.append(part)
    return slots, orphans


def _slot_for(
    result: ToolResult, turn: int, by_id: dict[str, list[_Slot]], slots: dict[int, list[_Slot]]
) -> _Slot | None:
    """The call a result answers: in the turn just before, else the latest unanswered, else the latest one."""
    if result.call_id:
        candidates = by_id.get(result.call_id, [])
    elif result.name is not None:
        # Dialects without ids pair by name and order, and failing that, by order alone.
        before = slots.get(turn - 1, [])
        candidates = [slot for slot in before if slot.call.name == result.name] or before
        candidates = [slot for slot in candidates if not slot.results]
    else:
        candidates = []
    for slot in candidates:
        if slot.turn == turn - 1 and not slot.results:
            return slot
    if candidates and candidates[-1].turn == turn - 1:
        return candidates[-1]
    waiting = [slot for slot in candidates if not slot.results] or candidates
    return waiting[-1] if waiting else None


def _new_id(given: str, turn: int, at: int, taken: set[str], originals: set[str]) -> str:
    """A legal, unused id: the given one if possible, with a number where it was used before."""
    base = given
    if not _LEGAL_ID.match(given):
        digest = hashlib.sha256(given.encode("utf-8", "replace")).hexdigest()[:8]
        base = f"{_ILLEGAL.sub('_', given)[:48]}_{digest}" if given else f"call_{turn}_{at}"
    if base not in taken and (base == given or base not in originals):
        return base
    number = 2
    while (candidate := f"{base[:58]}_{number}") in taken or candidate in originals:
        number += 1
    return candidate


def _renamed(message: Message, slots: Sequence[_Slot]) -> Message:
    if all(slot.id == slot.call.id for slot in slots):
        return message
    waiting = iter(slots)
    parts: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolCall):
            slot = next(waiting)
            parts.append(ToolCall(slot.id, part.name, part.input))
        else:
            parts.append(part)
    return Message(message.role, tuple(parts))


def _answered(message: Message, turn: int, slots: Sequence[_Slot], orphans: set[tuple[int, int]]) -> Message:
    parts: list[Part] = [_answer(slot) for slot in slots]
    for at, part in enumerate(message.parts):
        if isinstance(part, ToolResult):
            if (turn, at) in orphans:
                parts += _as_text(part)
        else:
            parts.append(part)
    return Message(message.role, tuple(parts))


def _answer(slot: _Slot) -> ToolResult:
    """One result for one call. Several are joined in order, and one failure makes all of it a failure."""
    results = slot.results
    if not results:
        return ToolResult(slot.id, (Text(NO_RESULT),), is_error=True)
    if len(results) == 1 and results[0].call_id == slot.id:
        return results[0]
    parts = tuple(part for result in results for part in result.parts)
    return ToolResult(slot.id, parts, any(result.is_error for result in results), results[0].name)


def _as_text(result: ToolResult) -> list[Part]:
    """A result whose call is gone, told as what it is."""
    kept: list[Part] = [part for part in result.parts if not isinstance(part, _NOT_THE_USERS)]
    kind = "[error of an earlier tool call]" if result.is_error else "[result of an earlier tool call]"
    return [Text(kind), *kept]
