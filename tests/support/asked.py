"""What the tests of the official libraries ask for, and what came of it at Kiro's side."""

import json
from collections.abc import Iterator
from typing import Any, Final

from kiro.emulator.answers import RawEvent
from kiro.emulator.faults import Replay
from kiro.emulator.server import Emulator

PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE: Final = f"data:image/jpeg;base64,{PIXEL}"
"""A PNG that is called something else."""
SCHEMA: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION: Final = {"name": "get_weather", "description": "Weather for a city", "parameters": SCHEMA}


def lines(*script: str) -> str:
    """A prompt that tells the emulator what to answer."""
    return "\n".join(["Test.", *(f"EMULATE: {line}" for line in script), "EMULATE: end"])


def saying(text: str) -> Replay:
    """An answer of Kiro's with this text, whatever was asked."""
    events = (
        RawEvent(event_type="assistantResponseEvent", payload={"content": text}),
        RawEvent(event_type="metadataEvent", payload={"stopReason": "END_TURN"}),
    )
    return Replay(events=events)


def current(kiro: Emulator) -> dict[str, Any]:
    """The current message of the newest conversation that Kiro was sent."""
    message: dict[str, Any] = kiro.seen("generate")[0].document()["conversationState"]["currentMessage"]
    return dict(message["userInputMessage"])


def results_sent(kiro: Emulator) -> list[tuple[str, str]]:
    """Ids and texts of the results of tools in it."""
    return [
        (result["toolUseId"], "".join(part["text"] for part in result["content"]))
        for result in current(kiro)["userInputMessageContext"]["toolResults"]
    ]


_STRUCTURE: Final = {
    "thoughtSignature",
    "signature",
    "type",
    "id",
    "object",
    "model",
    "role",
    "item_id",
    "modelVersion",
    "responseId",
    "finishReason",
}


def joined(data: str) -> str:
    """The answer with the pieces of its texts side by side."""
    documents = [json.loads(line[6:]) for line in data.split("\n") if line.startswith("data: {")] or [json.loads(data)]
    return "".join(texts_in(documents))


def texts_in(value: Any) -> Iterator[str]:
    """The strings of a document, but for those that only give it its structure."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in _STRUCTURE:
                yield from texts_in(inner)
