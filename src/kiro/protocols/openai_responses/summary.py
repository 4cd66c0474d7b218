"""The stream of a compaction: whatever the model says becomes one opaque item.

An answer that is no summary (nothing said, a tool called, declined) fails: a client that took it for
one would have lost its history.
"""

from collections.abc import Sequence

from kiro.conversation.events import Event, Finish, Start, TextDelta, ToolCallStart
from kiro.errors import EmptyAnswer, KiroError, RequestRefused
from kiro.protocols.openai_responses import shapes
from kiro.protocols.openai_responses.compaction import wrap_summary
from kiro.protocols.openai_responses.failures import stream_error
from kiro.protocols.openai_responses.request import ResponsesAsk
from kiro.protocols.openai_responses.stream import Stream


class CompactionStream(Stream):
    """Renderer of a compaction; `error` says why there is no summary."""

    def __init__(self, ask: ResponsesAsk, answer_id: str, created_s: int) -> None:
        super().__init__(ask, answer_id, created_s)
        self._pieces: list[str] = []
        self._called = False
        self.error: KiroError | None = None

    def feed(self, events: Sequence[Event]) -> bytes:
        out: list[bytes] = []
        for event in events:
            match event:
                case TextDelta(text=text):
                    self._pieces.append(text)
                case ToolCallStart():
                    self._called = True
                case Start():
                    self._begin(out)
                case Finish():
                    self._finish(event, out)
                case _:
                    pass  # thinking is no part of a summary
        return b"".join(out)

    def _finish(self, finish: Finish, out: list[bytes]) -> None:
        summary = "".join(self._pieces).strip()
        if finish.reason == "refusal":
            self.error = RequestRefused("The model declined to summarise the conversation.", hint=finish.refusal)
        elif self._called or not summary:
            said = "called a tool instead of summarising" if self._called else "gave no summary of"
            self.error = EmptyAnswer(f"The model {said} the conversation.", hint="Try again.")
        if self.error is not None:
            self._fail(stream_error(self.error), out)
            return
        item = shapes.compaction(self._new_id("cmp"), wrap_summary(summary))
        self._whole_item(item, item, out)
        finish = finish if finish.reason == "end_turn" else Finish("end_turn", finish.usage)
        self._end(finish, out)
