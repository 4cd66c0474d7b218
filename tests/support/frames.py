"""Event-stream bytes to plain (name, payload) pairs and back."""

import json
from typing import Any

from kiro.upstream.eventstream import Decoder, Frame, encode_frame

Event = tuple[str, dict[str, Any]]


def event_frame(event_type: str, payload: dict[str, Any]) -> bytes:
    headers = {":event-type": event_type, ":content-type": "application/json", ":message-type": "event"}
    return encode_frame(headers, json.dumps(payload).encode())


def events(data: bytes) -> list[Event]:
    """Every frame of a complete stream; exceptions and errors are named by their type or code."""
    decoder = Decoder()
    frames = decoder.feed(data)
    decoder.close()
    return [named(frame) for frame in frames]


def named(frame: Frame) -> Event:
    headers = frame.headers
    name = headers.get(":event-type") or headers.get(":exception-type") or headers.get(":error-code")
    return str(name), json.loads(frame.payload or b"{}")


def text_of(found: list[Event]) -> str:
    return "".join(payload["content"] for name, payload in found if name == "assistantResponseEvent")


def reasoning_of(found: list[Event]) -> str:
    return "".join(payload.get("text", "") for name, payload in found if name == "reasoningContentEvent")


def calls_of(found: list[Event]) -> list[tuple[str, Any]]:
    """Tool calls that were stopped: name and parsed input, in order of their starts."""
    slices: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    stopped: set[str] = set()
    for name, payload in found:
        if name == "toolUseEvent":
            call_id = payload["toolUseId"]
            names[call_id] = payload["name"]
            slices.setdefault(call_id, []).append(payload.get("input", ""))
            if payload.get("stop"):
                stopped.add(call_id)
    return [(names[one], json.loads("".join(slices[one]) or "{}")) for one in names if one in stopped]


def payload_of(found: list[Event], event_type: str) -> dict[str, Any]:
    return next(payload for name, payload in found if name == event_type)
