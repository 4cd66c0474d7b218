"""Makes the log row of one request, and keeps the log off the hot path.

Rows are collected in memory and written in batches by a thread, twice a second and at the end.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self

import msgspec

from kiro.errors import KiroError
from kiro.relay.answers import Underway
from kiro.storage.request_log import Attempt as AttemptRow
from kiro.storage.request_log import RequestRow

_FLUSH_S: Final = 0.5

Append = Callable[[Sequence[RequestRow]], None]


class Record:
    """One request as it goes by; `row` makes its log row."""

    __slots__ = (
        "_clock",
        "_started_at",
        "answering",
        "client_key",
        "model",
        "path",
        "protocol",
        "request_id",
        "stream",
    )

    def __init__(self, request_id: str, protocol: str, path: str) -> None:
        self.request_id = request_id
        self.protocol = protocol
        self.path = path
        self.client_key: str | None = None
        self.model: str | None = None
        self.stream = False
        self.answering: Underway | None = None
        self._started_at = time.time()
        self._clock = time.perf_counter()

    def row(self, status: int, error: BaseException | None, *, notes: Sequence[str] = ()) -> RequestRow:
        """The row; `error` is what ended the request, `CancelledError` when the client left."""
        answering = self.answering
        row = RequestRow(
            id=self.request_id,
            started_at=self._started_at,
            protocol=self.protocol,
            path=self.path,
            status=status,
            outcome=_outcome(error, tried=answering is not None and bool(answering.attempts)),
            stream=self.stream,
            duration_ms=(time.perf_counter() - self._clock) * 1000,
            client_key=self.client_key,
            model_asked=self.model,
            error=type(error).__name__ if isinstance(error, KiroError) else None,
            message=error.message if isinstance(error, KiroError) else None,
            notes=tuple(notes),
        )
        return row if answering is None else self._with_answer(row, answering)

    def _with_answer(self, row: RequestRow, answering: Underway) -> RequestRow:
        usage = answering.usage()
        first = answering.first_event_at
        return msgspec.structs.replace(
            row,
            model_used=answering.used_model,
            account=answering.account.id if answering.account is not None else None,
            first_event_ms=(first - self._clock) * 1000 if first is not None else None,
            input_tokens=usage.input,
            output_tokens=usage.output,
            cache_read_tokens=usage.cache_read,
            cache_write_tokens=usage.cache_write,
            credits=usage.credits,
            stop_reason=answering.finish.reason if answering.finish is not None else None,
            notes=(*row.notes, *answering.notes),
            attempts=tuple(
                AttemptRow(
                    n, one.account, one.started_at, one.status, one.error, one.reason, one.upstream_id, one.duration_ms
                )
                for n, one in enumerate(answering.attempts, 1)
            ),
        )


def _outcome(error: BaseException | None, *, tried: bool) -> str:
    if error is None:
        return "done"
    if isinstance(error, asyncio.CancelledError):
        return "left"
    return "failed" if tried else "refused"


class LogWriter:
    """Collects rows; `append` writes a batch and may block. Use as `async with`."""

    def __init__(self, append: Append, complain: Callable[[str], None]) -> None:
        self._append = append
        self._complain = complain
        self._rows: list[RequestRow] = []
        self._writer = ThreadPoolExecutor(1, "log")  # always the same thread: each has a heap of its own
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
        await self.flush()
        self._writer.shutdown(wait=False)

    def add(self, row: RequestRow) -> None:
        self._rows.append(row)

    async def flush(self) -> None:
        """Writes what is there. A full disk costs log rows, never an answer."""
        rows, self._rows = self._rows, []
        if rows:
            try:
                await asyncio.get_running_loop().run_in_executor(self._writer, self._append, rows)
            except (KiroError, OSError) as error:
                self._complain(f"{len(rows)} log rows could not be written: {error}")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            await self.flush()
