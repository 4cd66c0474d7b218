"""Server-sent events, and what a client makes of Anthropic's."""

import json
from typing import Any

Record = tuple[str, dict[str, Any]]


def records(data: bytes) -> list[Record]:
    """Named events: `(name, document)`."""
    found = []
    for block in data.decode().split("\n\n"):
        if block.startswith("event: "):
            name, body = block.split("\n")
            found.append((name[7:], json.loads(body[6:])))
    return found


def text_of(found: list[Record]) -> str:
    return "".join(
        document["delta"]["text"]
        for name, document in found
        if name == "content_block_delta" and document["delta"]["type"] == "text_delta"
    )


def blocks_of(found: list[Record]) -> list[dict[str, Any]]:
    """The content blocks with their deltas joined; a tool's arguments stand under `json`."""
    blocks: list[dict[str, Any]] = []
    for name, document in found:
        if name == "content_block_start":
            blocks.append({**document["content_block"], "json": ""})
        elif name == "content_block_delta":
            delta = document["delta"]
            if delta["type"] == "input_json_delta":
                blocks[-1]["json"] += delta["partial_json"]
            elif delta["type"] == "citations_delta":
                blocks[-1].setdefault("citations", []).append(delta["citation"])
            else:
                member = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}[
                    delta["type"]
                ]
                blocks[-1][member] += delta[member]
    return blocks
