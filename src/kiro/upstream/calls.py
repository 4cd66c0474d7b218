"""A tool call while it is being received."""

import json

import msgspec


class Call:
    """A tool call being received.

    `held` is a lone `{}` that more input may still make void, `half` the first half of a character.
    """

    __slots__ = ("fragments", "half", "held", "id", "name", "snapshot", "stopped", "unwrap")

    def __init__(self, call_id: str, name: str, *, unwrap: bool) -> None:
        self.id = call_id
        self.name = name
        self.unwrap = unwrap
        self.fragments: list[str] = []
        self.held = ""
        self.half = ""
        self.snapshot: str | None = None
        self.stopped = False

    def text(self) -> str:
        """The arguments' JSON text so far; `{}` when Kiro sent none."""
        joined = "".join(self.fragments) + self.held if self.snapshot is None else self.snapshot
        return joined if joined.strip() else "{}"

    def unwrapped(self) -> str:
        """`{"input": x}` → the JSON of x, for tools whose schema is not an object."""
        document = json.loads(self.text())
        inner = document.get("input", document) if isinstance(document, dict) else document
        return json.dumps(inner, ensure_ascii=False)

    def is_object(self) -> bool:
        try:
            return isinstance(msgspec.json.decode(self.text()), dict)
        except (msgspec.DecodeError, UnicodeEncodeError):
            return _is_object_with_surrogates(self.text())


def _is_object_with_surrogates(text: str) -> bool:
    """msgspec refuses lone surrogate escapes, which are legal JSON text; the standard library does not."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
