"""Listens, serves until told to stop, and stops without cutting anybody off in the middle.

On SIGINT or SIGTERM new connections are refused and running answers get up to `_GRACE_S`; a second
signal ends at once.
"""

import asyncio
import errno
import gc
import signal
import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

from kiro.errors import PortTaken, UsageError
from kiro.runtime import Runtime
from kiro.server.app import make_app

_GRACE_S: Final = 10.0
_SAME_SIGNAL_S: Final = 0.3
_BACKLOG: Final = 1024
_COLLECT_AFTER: Final = 20_000
"""Net new objects between collections; the interpreter's 700 costs 3 % of a busy proxy."""


async def serve(
    runtime: Runtime, *, host: str, port: int, on_ready: Callable[[str], None], stop: asyncio.Event | None = None
) -> None:
    """Serves until `stop` is set or a signal comes. `on_ready` gets the base URL. Raises PortTaken, UsageError."""
    runner = web.AppRunner(
        make_app(runtime),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=_GRACE_S / 2,
        keepalive_timeout=75,
    )
    await runner.setup()
    stopping = _Stopping(stop or asyncio.Event())
    try:
        site = web.TCPSite(runner, host, port, backlog=_BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise _cannot_listen(error, host, port) from error
        stopping.on_signals()
        _calm_collector()
        on_ready(_base_url(runner, host))
        await stopping.asked.wait()
        await site.stop()
    finally:
        await _clean_up(runner, stopping.urged)


async def _clean_up(runner: web.AppRunner, urged: asyncio.Event) -> None:
    """Waits for running answers, in aiohttp's two steps of `shutdown_timeout` each, until urged not to."""
    orderly, hurry = asyncio.ensure_future(runner.cleanup()), asyncio.ensure_future(urged.wait())
    await asyncio.wait({orderly, hurry}, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not orderly.done():
        orderly.cancel()
        if runner.server is not None:
            await runner.server.shutdown(timeout=0.05)  # 0 would mean without end
        await runner.cleanup()


def _calm_collector() -> None:
    """What start-up made stays: it need not be walked again. Requests make few cycles, so look for them rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)


def _base_url(runner: web.AppRunner, host: str) -> str:
    port = runner.addresses[0][1]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104  compared, not bound
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _cannot_listen(error: OSError, host: str, port: int) -> PortTaken | UsageError:
    if error.errno in (errno.EADDRINUSE, errno.EACCES) and port:
        return PortTaken(host, port)
    return UsageError(f"It is not possible to listen on {host}: {error.strerror or error}.", hint="Check server.host.")


class _Stopping:
    """The first signal asks to stop, a second one not to wait for running answers.

    Some programs (`timeout`, terminals that close) send the same signal twice at once; that counts as one.
    """

    def __init__(self, asked: asyncio.Event) -> None:
        self.asked = asked
        self.urged = asyncio.Event()
        self._asked_at = 0.0

    def on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, self._signalled)
            except NotImplementedError:  # Windows: its loop has no signal handlers, the interpreter's own do
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._signalled))

    def _signalled(self) -> None:
        if not self.asked.is_set():
            self._asked_at = time.monotonic()
            self.asked.set()
        elif time.monotonic() - self._asked_at > _SAME_SIGNAL_S:
            self.urged.set()
