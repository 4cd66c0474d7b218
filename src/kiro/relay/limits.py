"""What Kiro cannot be asked for and is done here: stop sequences and a small `max_tokens`.

Both cut the visible text of the answer while it streams. A stop sequence may be spread over several
deltas, so as much text is held back as could still become one. Thinking and tool arguments are
never cut: half a tool call is worse than a long answer.
"""

from collections.abc import Callable, Sequence

from kiro.conversation.counting import tokens_of
from kiro.conversation.events import Event, Finish, TextDelta, ThinkingDelta, ToolCallStart, Usage


class Limits:
    """A filter over events. `stopped` turns true when the answer has to end here; its Finish is then the last event."""

    def __init__(self, stop_sequences: Sequence[str], max_tokens: int | None) -> None:
        self._stops = tuple(stop for stop in stop_sequences if stop)
        self._longest = max((len(stop) for stop in self._stops), default=0)
        self._max_tokens = max_tokens
        self._held = ""
        self._plain = 0
        self._wide = 0
        self.stopped = False
        self._reason: str | None = None

    def feed(self, events: Sequence[Event], usage: Callable[[], Usage]) -> list[Event]:
        """`usage` tells what the answer has cost so far, for the Finish of a local stop."""
        out: list[Event] = []
        for event in events:
            if self.stopped:
                break
            if isinstance(event, TextDelta):
                self._text(event.text, out, usage)
                continue
            if isinstance(event, ThinkingDelta):
                self._plain += len(event.text)
            self._release(out)
            if self._spent() and isinstance(event, ToolCallStart):
                self._stop(Finish("max_tokens", usage()), out)
            else:
                out.append(event)
        return out

    def forget(self) -> None:
        """Drops the text that is held back: an answer that goes on where the shown text ended says it again."""
        self._held = ""

    def _text(self, text: str, out: list[Event], usage: Callable[[], Usage]) -> None:
        text = self._held + text
        self._held = ""
        found = min(
            ((at, stop) for stop in self._stops if (at := text.find(stop)) >= 0),
            key=lambda hit: (hit[0], -len(hit[1])),
            default=None,
        )
        if found is not None:
            self._give(text[: found[0]], out, usage)
            if not self.stopped:
                self._stop(Finish("stop_sequence", usage(), stop_sequence=found[1]), out)
            return
        keep = self._possible_stop(text)
        self._held = text[len(text) - keep :] if keep else ""
        self._give(text[: len(text) - keep], out, usage)

    def _possible_stop(self, text: str) -> int:
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            tail = text[-length:]
            if any(stop.startswith(tail) for stop in self._stops):
                return length
        return 0

    def _give(self, text: str, out: list[Event], usage: Callable[[], Usage]) -> None:
        if not text:
            return
        if self._max_tokens is not None and self._over(text):
            text = self._fitting(text)
            if text:
                out.append(TextDelta(text))
            self._stop(Finish("max_tokens", usage()), out)
            return
        self._count(text)
        out.append(TextDelta(text))

    def _count(self, text: str) -> None:
        if text.isascii():
            self._plain += len(text)
        else:
            self._wide += len(text)

    def _over(self, text: str) -> bool:
        plain, wide = (len(text), 0) if text.isascii() else (0, len(text))
        return tokens_of(self._plain + plain, self._wide + wide) > (self._max_tokens or 0)

    def _spent(self) -> bool:
        return self._max_tokens is not None and tokens_of(self._plain, self._wide) > self._max_tokens

    def _fitting(self, text: str) -> str:
        """The longest beginning within the limit, at least one character so that an answer is never blank."""
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (low, middle - 1) if self._over(text[:middle]) else (middle, high)
        if low == 0 and self._plain + self._wide == 0:
            low = 1
        return text[:low]

    def _release(self, out: list[Event]) -> None:
        if self._held:
            self._count(self._held)
            out.append(TextDelta(self._held))
            self._held = ""

    def _stop(self, finish: Finish, out: list[Event]) -> None:
        self.stopped = True
        out.append(finish)
