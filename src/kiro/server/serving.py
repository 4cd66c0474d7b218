"""Listens, serves until told to stop, and stops without cutting anybody off in the middle.

On SIGINT or SIGTERM new connections are refused and running answers get up to `_GRACE_S`; a second
signal ends at once.
"""

import asyncio
import errno
import gc
import signal
from collections.abc import Callable
from typing import Final

from aiohttp import web

from kiro.errors import PortTaken, UsageError
from kiro.runtime import Runtime
from kiro.server.app import make_app

_GRACE_S: Final = 10.0
_BACKLOG: Final = 1024
_COLLECT_AFTER: Final = 20_000
"""Net new objects between collections; the interpreter's 700 costs 3 % of a busy proxy."""


async def serve(
    runtime: Runtime, *, host: str, port: int, on_ready: Callable[[str], None], stop: asyncio.Event | None = None
) -> None:
    """Serves until `stop` is set or a signal comes. `on_ready` gets the base URL. Raises PortTaken, UsageError."""
    runner = web.AppRunner(
        make_app(runtime), access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE_S, keepalive_timeout=75
    )
    await runner.setup()
    stopped = stop or asyncio.Event()
    try:
        site = web.TCPSite(runner, host, port, backlog=_BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise _cannot_listen(error, host, port) from error
        _stop_on_signals(stopped)
        _calm_collector()
        on_ready(_base_url(runner, host))
        await stopped.wait()
        await site.stop()
    finally:
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


def _stop_on_signals(stopped: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        if stopped.is_set():
            raise SystemExit(128 + number)
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop, number)
        except NotImplementedError:  # Windows: its loop has no signal handlers, the interpreter's own do
            signal.signal(number, lambda got, _: loop.call_soon_threadsafe(stop, got))
