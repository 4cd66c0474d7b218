"""What the commands share: the home of this person, a runtime for one question, and words for times and numbers."""

import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from kiro.cli import prompt
from kiro.errors import UsageError
from kiro.home import Home

T = TypeVar("T")
Word = TypeVar("Word", bound=str)

_SECRET_VARIABLES: Final = (
    "KIRO_VAULT_PASSPHRASE",
    "KIRO_EXPORT_PASSPHRASE",
    "KIRO_UPSTREAM_PROXY",
    "KIRO_API_KEY",
)
SERVED_AT = "served_at"
"""Where the database keeps the address at which this home was served last."""


@contextmanager
def opened_home(flags: Mapping[str, Any] | None = None, *, may_ask: bool = True) -> Iterator[Home]:
    """The home, closed again at the end. A passphrase is asked for only where somebody can answer."""
    home = Home(flags=flags, ask_passphrase=prompt.passphrase if may_ask and prompt.can_ask() else None)
    try:
        yield home
    finally:
        home.close()


def run_async(work: Coroutine[Any, Any, T], *, fast: bool = False) -> T:
    """Run to the end. `fast` takes uvloop where it exists, which pays only for what runs long."""
    import asyncio

    with asyncio.Runner(loop_factory=_fast_loop() if fast else None) as runner:
        return runner.run(work)


def _fast_loop() -> Callable[[], Any] | None:
    if sys.platform == "win32":
        return None
    try:
        import uvloop
    except ImportError:  # a Python that uvloop has no build for
        return None
    return uvloop.new_event_loop


def ignore_signals() -> None:
    """The work is done and only tidying is left: another Ctrl-C, or one delivered twice, changes nothing any more."""
    import asyncio
    import signal

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows: its loop has no signal handlers
            loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


def hide_secrets_from_children() -> None:
    """Before another program starts: what only kiro should know is taken out of what children inherit.

    The home has read its own copy by then.
    """
    for name in _SECRET_VARIABLES:
        os.environ.pop(name, None)


def server_url(home: Home) -> str:
    """Where the configured server answers, seen from this computer."""
    server = home.loaded.settings.server
    host = "127.0.0.1" if server.host in ("0.0.0.0", "::", "") else server.host  # noqa: S104  # compared, not bound
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"


def ago(when: datetime | None) -> str:
    """`in 3 h`, `5 min ago`; empty when the time is not known."""
    if when is None:
        return ""
    seconds = (when - datetime.now(UTC)).total_seconds()
    size = span(abs(seconds))
    return f"in {size}" if seconds > 0 else f"{size} ago"


def span(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def local(seconds: float) -> str:
    """Seconds since 1970 as local date and time."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def one_of(words: Sequence[Word], text: str, what: str) -> Word:
    """The word of `words` that a person gave. Raises UsageError naming them all; `what` they are is in the sentence."""
    for word in words:
        if text == word:
            return word
    raise UsageError(f"There is no {what} {text!r}.", hint=f"There are {', '.join(words)}.")


def check_api_region(region: str) -> None:
    """Raises UsageError for a region in which Kiro does not answer."""
    from kiro.upstream.endpoints import API_REGIONS

    if region not in API_REGIONS:
        raise UsageError(f"Kiro does not answer in {region}.", hint=f"It answers in {', '.join(API_REGIONS)}.")


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
