"""One response on its way: numbered records, items added and done, and the end in one of its forms.

`response.created` comes first, before any keep-alive, because clients take nothing before it. Every
event has a `sequence_number`; an item stands whole in its done event, and all items in the end.
"""

from typing import Any

from kiro.conversation.events import Finish
from kiro.errors import KiroError
from kiro.protocols.openai_responses import shapes
from kiro.protocols.openai_responses.failures import stream_error
from kiro.protocols.openai_responses.request import ResponsesAsk
from kiro.protocols.openai_responses.shapes import Item, Outcome
from kiro.protocols.sse import record


class Stream:
    """What every stream of this dialect can do; the classes below it decide what an event becomes."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, ask: ResponsesAsk, answer_id: str, created_s: int) -> None:
        self._ask = ask
        self._answer_id = answer_id
        self._head = shapes.response_head(ask, f"resp_{answer_id}", created_s)
        self._sequence = 0
        self._begun = False
        self._output: list[Item] = []
        self._kept: list[Item] = []
        self.outcome: Outcome | None = None
        """The response as it ended; None before, and when it failed."""

    def keepalive(self) -> bytes:
        """The beginning, if it is still to come: clients take nothing before it. Then an event that nobody knows."""
        out: list[bytes] = []
        if self._begun:
            self._record("response.keepalive", {}, out)
        else:
            self._begin(out)
        return b"".join(out)

    def failure(self, error: KiroError) -> bytes:
        out: list[bytes] = []
        self._begin(out)
        self._fail(stream_error(error), out)
        return b"".join(out)

    def _record(self, kind: str, members: dict[str, Any], out: list[bytes]) -> None:
        out.append(record(kind, {"type": kind, **members, "sequence_number": self._sequence}))
        self._sequence += 1

    def _begin(self, out: list[bytes]) -> None:
        if not self._begun:
            self._begun = True
            response = shapes.with_state(self._head, "in_progress", [])
            self._record("response.created", {"response": response}, out)
            self._record("response.in_progress", {"response": response}, out)

    def _new_id(self, prefix: str) -> str:
        """An id from which the response's id can be told."""
        return f"{prefix}_{self._answer_id}_{len(self._kept)}"

    def _add(self, item: Item, out: list[bytes]) -> None:
        self._record("response.output_item.added", {"output_index": len(self._output), "item": item}, out)

    def _done(self, item: Item, out: list[bytes], *, kept: Item | None = None) -> None:
        self._record("response.output_item.done", {"output_index": len(self._output), "item": item}, out)
        self._output.append(item)
        self._kept.append(kept or item)

    def _whole_item(self, begun: Item, item: Item, out: list[bytes]) -> None:
        self._add(begun, out)
        self._done(item, out)

    def _fail(self, error: dict[str, Any], out: list[bytes]) -> None:
        response = shapes.with_state(self._head, "failed", self._output, error=error)
        self._record("response.failed", {"response": response}, out)

    def _end(self, finish: Finish, out: list[bytes]) -> None:
        incomplete = shapes.incomplete_reason(finish, self._ask)
        status = "completed" if incomplete is None else "incomplete"
        usage = shapes.usage_of(finish.usage)
        response = shapes.with_state(self._head, status, self._output, usage=usage, incomplete=incomplete)
        self._record(f"response.{status}", {"response": response}, out)
        self.outcome = Outcome(response, tuple(self._kept))
