"""The person's browser: opened where there is one, else told where to go.

Where the browser runs on another computer it cannot come back to this one; then the address it fails at
is pasted here. What is handed to the browser's process is an address of this computer that leads on, so
that nothing of the sign-in shows among the processes.
"""

import os
import platform
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kiro.cli import prompt, render
from kiro.cli.opening import hide_secrets_from_children
from kiro.errors import UsageError

if TYPE_CHECKING:
    from kiro.auth.loopback import Loopback
    from kiro.auth.steps import Browse


class Browser:
    """`name` is a browser of the person's choice; `wanted` False only shows the address. `by_code`: the other way."""

    def __init__(self, name: str | None, *, wanted: bool, by_code: str) -> None:
        self._name = name
        self._wanted = wanted
        self._by_code = by_code
        if name is not None:
            _find(name)

    async def show(self, step: "Browse", listener: "Loopback") -> None:
        if self._wanted and (self._name is not None or has_browser(os.environ)):
            render.note("Your browser opens; finish the sign-in there. Waiting; Ctrl-C stops.")
            render.note(f"If it does not, open {listener.start_url}")
            threading.Thread(target=self._open, args=(listener.start_url,), daemon=True).start()
            return
        render.note("Open this address in a browser:\n")
        render.note(f"    {step.url}\n")
        render.note(
            f"On another computer, forward the port first: ssh -L {listener.port}:127.0.0.1:{listener.port} …\n"
            f"Or sign in by a code instead, which needs no port: Ctrl-C, then `{self._by_code}`."
        )
        if prompt.can_ask() and sys.platform != "win32":
            render.note("Or copy the address the browser cannot open at the end, and paste it here:")
            _take_lines(listener)
        render.note("Waiting; Ctrl-C stops.")

    def _open(self, url: str) -> None:
        """In a thread of its own: some browsers keep the caller until they are closed."""
        import webbrowser

        hide_secrets_from_children()
        try:
            opened = webbrowser.get(self._name).open(url)
        except webbrowser.Error:
            opened = False
        if not opened:
            render.note(f"No browser could be opened. Open {url} yourself.")


def has_browser(env: Mapping[str, str]) -> bool:
    """Whether a browser on this computer, with a screen, is likely."""
    if any(env.get(name) for name in ("SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY")):
        return False
    if sys.platform in ("win32", "darwin") or env.get("BROWSER"):
        return True
    release = platform.release().lower()
    if "microsoft" in release or "wsl" in release:
        return False
    return bool(env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"))


def _find(name: str) -> None:
    import webbrowser

    try:
        webbrowser.get(name)
    except webbrowser.Error:
        raise UsageError(
            f"There is no browser {name!r} here.", hint="Leave --browser out, or use --no-browser."
        ) from None


def _take_lines(listener: "Loopback") -> None:
    """Lines typed while the listener waits are offered to it."""
    import asyncio

    loop = asyncio.get_running_loop()

    def read() -> None:
        line = sys.stdin.readline()
        if not line or listener.offer(line):
            loop.remove_reader(sys.stdin)
        elif line.strip():
            render.note("This is not the address of this sign-in. It begins with http://localhost or http://127.0.0.1.")

    loop.add_reader(sys.stdin, read)
