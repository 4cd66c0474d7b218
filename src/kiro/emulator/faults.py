"""Faults on request: what goes wrong, when, for whom, how often.

A test asks with `emulator.faults.add(Reset(after=3), times=2, account="second")`, or with a line of
the prompt, at the start of a line:

    EMULATE-FAULT: {"fault": "http", "status": 429, "reason": "USER_REQUEST_RATE_EXCEEDED", "times": 1}

The members of the line are those of the class whose tag is `fault`, and `times` (1; 0 = always),
`account`. A line counts its own uses: the same line in two conversations shares them; add any member
such as `"id": 7` to tell them apart.

`plan` is pure: events and faults in, the writes and waits of the HTTP body out.
"""

import random
import re
from typing import Final, Literal, TypeAlias, assert_never

import msgspec

from kiro.emulator.answers import RawEvent, frame_bytes

Operation = Literal["generate", "models", "usage", "profiles", "mcp", "refresh", "register", "logout"]


class _Fault(msgspec.Struct, frozen=True, tag_field="fault"):
    """`after` counts the events that are sent before it happens."""


class HttpError(_Fault, frozen=True, tag="http"):
    """An answer with this status instead of a stream. `raw` is sent as it is, as text/html (an edge's page)."""

    status: int
    reason: str | None = None
    message: str = "Emulated failure."
    shape: str | None = None
    retry_after_s: int | None = None
    retry_after_ms: int | None = None
    raw: str | None = None


class ExpireToken(_Fault, frozen=True, tag="expire"):
    """The caller's access tokens expire just before this request is looked at."""


class ExceptionFrame(_Fault, frozen=True, tag="exception"):
    name: str = "throttlingError"
    message: str = "Emulated exception."
    reason: str | None = None
    retry_after_ms: int | None = None
    after: int = 0


class ErrorFrame(_Fault, frozen=True, tag="error"):
    code: str = "InternalError"
    message: str = "Emulated error."
    after: int = 0


class Reset(_Fault, frozen=True, tag="reset"):
    """The TCP connection is reset. `inside_tool`: after the first slice of a tool call's input instead."""

    after: int = 0
    inside_tool: bool = False


class EndEarly(_Fault, frozen=True, tag="eof"):
    """The HTTP body ends properly, the answer does not: no tail, maybe no end of a tool call."""

    after: int = 0
    inside_tool: bool = False


class HalfFrame(_Fault, frozen=True, tag="half"):
    """The HTTP body ends in the middle of the next frame."""

    after: int = 0


class BadChecksum(_Fault, frozen=True, tag="checksum"):
    """The frame after `after` good ones has a wrong checksum."""

    after: int = 0


class Hang(_Fault, frozen=True, tag="hang"):
    """No bytes for `ms` milliseconds, then the answer goes on. `before_head` holds the HTTP head back, too.

    In other operations than a conversation it is the whole answer that waits: what was asked for is done already,
    or with `before_head` not yet.
    """

    ms: int
    after: int = 0
    before_head: bool = False


class Slow(_Fault, frozen=True, tag="slow"):
    """A pause of `ms` milliseconds before every event."""

    ms: int


class Empty(_Fault, frozen=True, tag="empty"):
    """HTTP 200 and no event at all. `tail` keeps the closing events."""

    tail: bool = False


class Replay(_Fault, frozen=True, tag="replay"):
    """These events instead of the answer."""

    events: tuple[RawEvent, ...]


class Shred(_Fault, frozen=True, tag="shred"):
    """The bytes are cut anywhere, into pieces of 1 to `longest` bytes, each written on its own."""

    seed: int = 0
    longest: int = 40


Fault: TypeAlias = (
    HttpError
    | ExpireToken
    | ExceptionFrame
    | ErrorFrame
    | Reset
    | EndEarly
    | HalfFrame
    | BadChecksum
    | Hang
    | Slow
    | Empty
    | Replay
    | Shred
)


class Send(msgspec.Struct, frozen=True):
    data: bytes


class Pause(msgspec.Struct, frozen=True):
    ms: int


class Cut(msgspec.Struct, frozen=True):
    """Reset the connection."""


Step: TypeAlias = Send | Pause | Cut

_TAIL: Final = frozenset({"metadataEvent", "contextUsageEvent", "meteringEvent"})
_LINE: Final = re.compile(r"^EMULATE-FAULT: (\{.*\})\r?$", re.MULTILINE)


class _Terms(msgspec.Struct):
    times: int = 1
    account: str | None = None


class _Rule(msgspec.Struct):
    faults: tuple[Fault, ...]
    left: int | None
    account: str | None
    operation: Operation


class Faults:
    """The faults still to come. `add` queues; each request takes the first entry that is meant for it."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []
        self._uses: dict[str, int] = {}

    def add(
        self,
        *faults: Fault,
        times: int | None = 1,
        account: str | None = None,
        operation: Operation = "generate",
    ) -> None:
        """The next `times` requests (`None` = all) of this operation (and account) suffer all these faults."""
        self._rules.append(_Rule(faults, times, account, operation))

    def clear(self) -> None:
        self._rules.clear()

    def take(self, operation: Operation, account: str | None, prompt: str = "") -> tuple[Fault, ...]:
        """The faults of one request: of the first matching entry, and of the prompt's own lines."""
        return (*self._queued(operation, account), *self._from_prompt(prompt, account))

    def _queued(self, operation: Operation, account: str | None) -> tuple[Fault, ...]:
        for rule in self._rules:
            if rule.operation == operation and rule.account in (None, account):
                if rule.left is not None:
                    rule.left -= 1
                    if rule.left <= 0:
                        self._rules.remove(rule)
                return rule.faults
        return ()

    def _from_prompt(self, prompt: str, account: str | None) -> tuple[Fault, ...]:
        found: list[Fault] = []
        for line in _LINE.findall(prompt):
            terms = msgspec.json.decode(line, type=_Terms)
            used = self._uses.get(line, 0)
            if terms.account not in (None, account) or used >= terms.times > 0:
                continue
            self._uses[line] = used + 1
            found.append(msgspec.json.decode(line, type=Fault))
        return tuple(found)


def plan(events: tuple[RawEvent, ...], faults: tuple[Fault, ...], pace_ms: int = 0) -> tuple[Step, ...]:
    """The writes and waits of the body. Faults of the HTTP head (`HttpError`, `ExpireToken`) are not looked at."""
    for fault in faults:
        match fault:
            case Replay():
                events = fault.events
            case Empty():
                events = tuple(event for event in events if event.event_type in _TAIL) if fault.tail else ()
            case _:
                pass
    steps: list[Step] = []
    for event in events:
        if pace_ms:
            steps.append(Pause(pace_ms))
        steps.append(Send(frame_bytes(event)))
    for fault in faults:
        steps = _suffer(steps, events, fault)
    return tuple(steps)


def _suffer(steps: list[Step], events: tuple[RawEvent, ...], fault: Fault) -> list[Step]:
    match fault:
        case HttpError() | ExpireToken() | Replay() | Empty():
            return steps
        case ExceptionFrame():
            extra = {"reason": fault.reason, "retryAfterMilliseconds": fault.retry_after_ms}
            payload = {"message": fault.message} | {key: value for key, value in extra.items() if value is not None}
            frame = frame_bytes(RawEvent(exception_type=fault.name, payload=payload))
            return [*_until(steps, fault.after), Send(frame)]
        case ErrorFrame():
            frame = frame_bytes(RawEvent(error_code=fault.code, error_message=fault.message))
            return [*_until(steps, fault.after), Send(frame)]
        case Reset():
            return [*_until(steps, _cut_at(events, fault.after, inside_tool=fault.inside_tool)), Cut()]
        case EndEarly():
            return _until(steps, _cut_at(events, fault.after, inside_tool=fault.inside_tool))
        case HalfFrame():
            frame = _frame_at(steps, fault.after)
            return [*_until(steps, fault.after), Send(frame[: len(frame) // 2])]
        case BadChecksum():
            frame = _frame_at(steps, fault.after)
            broken = frame[:-1] + bytes((frame[-1] ^ 0xFF,))
            before = _until(steps, fault.after)
            return [*before, Send(broken), *steps[len(before) + 1 :]]
        case Hang():
            before = _until(steps, fault.after)
            return steps if fault.before_head else [*before, Pause(fault.ms), *steps[len(before) :]]
        case Slow():
            return [step for one in steps for step in (Pause(fault.ms), one)]
        case Shred():
            return _shredded(steps, fault)
        case _:
            assert_never(fault)


def _until(steps: list[Step], sends: int) -> list[Step]:
    """The steps before the send number `sends`; all of them when there are fewer."""
    for position, step in enumerate(steps):
        if isinstance(step, Send):
            if sends == 0:
                return steps[:position]
            sends -= 1
    return steps


def _frame_at(steps: list[Step], number: int) -> bytes:
    frames = [step.data for step in steps if isinstance(step, Send)]
    return frames[min(number, len(frames) - 1)] if frames else b"\0" * 16


def _cut_at(events: tuple[RawEvent, ...], after: int, *, inside_tool: bool) -> int:
    if not inside_tool:
        return after
    for position, event in enumerate(events):
        if event.event_type == "toolUseEvent" and event.payload and event.payload.get("input"):
            return position + 1
    return after


def _shredded(steps: list[Step], fault: Shred) -> list[Step]:
    draw = random.Random(fault.seed)  # noqa: S311 - reproducible cuts, nothing secret
    pieces: list[Step] = []
    pending = b""
    for step in [*steps, None]:
        if isinstance(step, Send):
            pending += step.data
            continue
        while pending:
            size = draw.randint(1, fault.longest)
            pieces.append(Send(pending[:size]))
            pending = pending[size:]
        if step is not None:
            pieces.append(step)
    return pieces
