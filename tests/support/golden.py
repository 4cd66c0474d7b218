"""What each dialect's client gets of every answer Kiro was seen to give: the documents in `cases/golden`.

Run as a program it writes them anew, for somebody to read the difference:

    python tests/support/golden.py
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from kiro.emulator.answers import RawEvent, frame_bytes
from kiro.errors import KiroError
from kiro.protocols import PROTOCOLS
from kiro.upstream.response import ResponseReader

CASES = Path(__file__).parents[1] / "cases"
SEQUENCES = json.loads((CASES / "upstream-examples.json").read_text())["sequences"]
NOW_S = 1_700_000_000
LONG = 400
SAID = [{"role": "user", "content": "hi"}]
REQUESTS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "anthropic": ({"model": "claude-test", "max_tokens": 9000, "messages": SAID, "thinking": {"type": "adaptive"}}, {}),
    "openai_chat": ({"model": "claude-test", "messages": SAID, "stream_options": {"include_usage": True}}, {}),
    "openai_responses": (
        {
            "model": "claude-test",
            "input": SAID,
            "reasoning": {"effort": "high", "summary": "auto"},
            "include": ["reasoning.encrypted_content"],
        },
        {},
    ),
    "gemini": (
        {
            "contents": [{"parts": [{"text": "hi"}]}],
            "generationConfig": {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 2000}},
        },
        {"model": "claude-test", "verb": "streamGenerateContent", "alt": "sse"},
    ),
}
"""A request per dialect, with what its path says, that wants to see all there is."""


def frames_of(sequence: dict[str, Any]) -> list[bytes]:
    """The frames Kiro sent."""
    return [frame_bytes(RawEvent(**event)) for event in sequence["events"]]


class Told:
    """What a client got: the bytes of a stream, or before it an error by its status."""

    def __init__(self, dialect: str, sequence: dict[str, Any], chunks: list[bytes]) -> None:
        protocol = PROTOCOLS[dialect]
        body, path = REQUESTS[dialect]
        ask = protocol.parse(json.dumps({**body, "stream": True}).encode(), {}, path)
        timed = {"created_s": NOW_S} if dialect.startswith("openai") else {}
        stream = protocol.renderer(ask, "0123", **timed)
        reader = ResponseReader(family="claude-opus", tags=sequence["mode"] == "thinking_tags", prompt_tokens=1200)
        self.data = b"".join(stream.feed(reader.feed(chunk)) for chunk in chunks) + stream.feed(reader.close())
        self.refused: dict[str, Any] | None = None
        if reader.failure is not None:
            self._fail(protocol, stream, reader.failure)

    def _fail(self, protocol: Any, stream: Any, error: KiroError) -> None:
        if self.data:
            self.data += stream.failure(error)
            return
        reply = protocol.error(error, "req_1")
        self.refused = {"status": reply.status, **reply.headers, "body": json.loads(reply.body)}

    @property
    def documents(self) -> list[Any]:
        """The data of each event of the stream, or the one refusal; long texts by their beginning and a sum."""
        if self.refused is not None:
            return [self.refused]
        lines = [line[6:] for line in self.data.decode().split("\n") if line.startswith("data: ")]
        return [line if line == "[DONE]" else _shortened(json.loads(line)) for line in lines]


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner) for inner in value]
    if isinstance(value, str) and len(value) > LONG:
        return f"{value[:LONG]}… ({len(value)} characters, {hashlib.sha256(value.encode()).hexdigest()[:16]})"
    return value


def golden_file(dialect: str) -> Path:
    return CASES / "golden" / f"{dialect}.json"


def written(dialect: str) -> str:
    """The documents of all answers, one a line."""
    parts = []
    for sequence in SEQUENCES:
        documents = Told(dialect, sequence, frames_of(sequence)).documents
        lines = ",\n".join("  " + json.dumps(one, ensure_ascii=False) for one in documents)
        parts.append(f"{json.dumps(sequence['name'])}: [\n{lines}\n]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    for name in PROTOCOLS:
        golden_file(name).parent.mkdir(exist_ok=True)
        golden_file(name).write_text(written(name), encoding="utf-8")
