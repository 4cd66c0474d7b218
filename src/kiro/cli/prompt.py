"""Questions to a person, asked only where a person can answer: stdin and stderr are a terminal."""

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kiro.cli import render
from kiro.errors import Cancelled


def can_ask() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, default: bool) -> None:
    """Raises Cancelled when the person says no. Where nobody can answer, the command itself counts as the answer."""
    if not can_ask():
        return
    if not agreed(question, default=default):
        raise Cancelled("Nothing was changed.")


def agreed(question: str, *, default: bool) -> bool:
    """Yes or no; Enter is the default. Raises Cancelled at the end of input."""
    word = line(f"{question} [{'Y/n' if default else 'y/N'}] ").lower()
    return word in ("y", "yes") if word else default


def line(question: str) -> str:
    """What the person types, without blanks around it. Raises Cancelled at the end of input."""
    render.note(question, end="")
    with _interruptible():
        said = sys.stdin.readline()
    if not said:
        raise Cancelled("Nothing was changed.")
    return said.strip()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends the question also inside an event loop, which only takes a note of it and goes on reading."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread is interrupted
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def choose(options: Sequence[str]) -> int:
    """The place of the chosen option, from 0; Enter takes the first. Raises Cancelled at the end of input."""
    for number, option in enumerate(options, 1):
        render.note(f"  {number}  {option}")
    while True:
        word = line(f"Which one? [1-{len(options)}, Enter: 1] ") or "1"
        if word.isascii() and word.isdigit() and 1 <= int(word) <= len(options):
            return int(word) - 1
        render.note("This is none of the numbers.")


def hidden(question: str) -> str:
    """A text that does not show while it is typed."""
    import getpass

    with _interruptible():
        return getpass.getpass(question, stream=sys.stderr)


def secret(question: str) -> str:
    """A secret from the person, or the first line of stdin where that is no terminal."""
    return hidden(question).strip() if sys.stdin.isatty() else sys.stdin.readline().strip()


def passphrase(new: bool) -> str | None:
    """Asks for the passphrase of the stored sign-ins; for a new one twice, where an empty one means none."""
    if not new:
        return hidden("Passphrase of the stored sign-ins: ")
    render.note("This computer offers no keyring, so something else has to keep the key of your sign-ins.")
    render.note(
        "With a passphrase you are asked at every start. Without one a key file is made that only you can read."
    )
    while True:
        first = hidden("New passphrase (empty: use a key file): ")
        if not first or hidden("The same again: ") == first:
            return first or None
        render.note("The two differ. Once more.")
