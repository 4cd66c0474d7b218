"""Every answer Kiro was seen to give, as events; and one of every error. For the tests of the dialects."""

import json
from pathlib import Path

from kiro import errors
from kiro.conversation.events import Finish, Usage
from kiro.upstream.eventstream import encode_frame
from kiro.upstream.response import ResponseReader

_CASES = Path(__file__).parents[1] / "cases"
_SEQUENCES = json.loads((_CASES / "upstream-examples.json").read_text())["sequences"]


def _answer_events(sequence):
    """The events of one recorded answer; None when it failed."""
    reader = ResponseReader(tags=sequence["mode"] == "thinking_tags", prompt_tokens=1200)
    events = []
    for event in sequence["events"]:
        if "event_type" not in event:
            return None
        headers = {":event-type": event["event_type"], ":message-type": "event"}
        events += reader.feed(encode_frame(headers, json.dumps(event["payload"]).encode()))
    events += reader.close()
    return events if reader.failure is None else None


WHOLE = [(sequence, events) for sequence in _SEQUENCES if (events := _answer_events(sequence)) is not None]
"""Pairs of a recorded answer (with `expect`) and its events."""
WHOLE_IDS = [sequence["name"] for sequence, _ in WHOLE]


def has_broken_call(sequence):
    want = sequence["expect"]
    return bool(want.get("incomplete_tools") or want.get("invalid_tools"))


def finish(reason="end_turn", **more):
    usage = Usage(input=10, output=5, cache_read=3, cache_write=2, thinking=1, source="exact")
    return Finish(reason, usage, **more)


def every_error():
    """One error of every class."""
    made = {
        errors.ContextOverflow: lambda: errors.ContextOverflow(210_000, 200_000),
        errors.UnknownModel: lambda: errors.UnknownModel("x", hint="Do this."),
        errors.PortTaken: lambda: errors.PortTaken("h", 1),
    }
    return [
        made.get(kind, lambda kind=kind: kind("It failed.", hint="Do this."))() for kind in _below(errors.KiroError)
    ]


def _below(kind):
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == "kiro.errors":
            yield from _below(child)
