"""The person's browser: opened where there is one, else told where to go.

Where the browser runs on another computer it cannot come back to this one; then the address it fails at
is pasted here. What is handed to the browser's process is an address of this computer that leads on, so
that nothing of the sign-in shows among the processes.
"""

import os
import platform
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kiro.cli import browsers, prompt, render
from kiro.cli.opening import hide_secrets_from_children
from kiro.cli.signing_in import Screen
from kiro.errors import UsageError

if TYPE_CHECKING:
    from kiro.auth.loopback import Loopback
    from kiro.auth.steps import Browse


class Browser(Screen):
    """`name` is a browser of the person's choice; `wanted` False only shows the address.

    `by_code` is the command that needs no browser on this computer, if there is one.
    """

    def __init__(self, name: str | None, *, wanted: bool, by_code: str | None, private: bool = False) -> None:
        self._wanted = wanted
        self._by_code = by_code
        self._name = name
        self._found = _chosen(name, private=private)
        self._private = private

    async def show_page(self, step: "Browse", listener: "Loopback") -> None:
        if self._wanted and (self._name is not None or self._private or has_browser(os.environ)):
            render.note("Your browser opens; finish the sign-in there. Waiting; Ctrl-C stops.")
            render.note(f"If it does not, open {listener.start_url}")
            offer_pasting(listener)
            threading.Thread(target=self._open, args=(listener.start_url,), daemon=True).start()
            return
        render.note("Open this address in a browser:\n")
        render.note(f"    {step.url}\n")
        render.note(f"On another computer, forward the port first: ssh -L {listener.port}:127.0.0.1:{listener.port} …")
        if self._by_code:
            render.note(f"Or sign in by a code instead, which needs no port: Ctrl-C, then `{self._by_code}`.")
        offer_pasting(listener)
        render.note("Waiting; Ctrl-C stops.")

    def _open(self, url: str) -> None:
        """In a thread of its own: some browsers keep the caller until they are closed."""
        hide_secrets_from_children()
        if not (_start(self._found, url, private=self._private) if self._found is not None else self._other(url)):
            instead = f" Or sign in by a code: Ctrl-C, then `{self._by_code}`." if self._by_code else ""
            render.note(f"No browser could be opened. Open {url} yourself.{instead}")

    def _other(self, url: str) -> bool:
        """The system's own browser, or a command line of the person's."""
        import webbrowser

        try:
            return webbrowser.get(self._name).open(url)
        except webbrowser.Error:
            return False


def _start(found: browsers.Found, url: str, *, private: bool) -> bool:
    """Whether the browser's process came up. It lives on after us, and Ctrl-C here is not meant for it."""
    command = ["open", "-a", "Safari"] if found.name == "safari" else found.command(private=private)
    quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    try:
        subprocess.Popen([*command, url], start_new_session=True, **quiet)  # noqa: S603  # found by name; the address is ours
    except OSError:
        return False
    return True


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


def _chosen(name: str | None, *, private: bool) -> browsers.Found | None:
    """The browser to start; `None` leaves it to the system. Raises UsageError when the wish cannot be met."""
    if name is None and not private:
        return None
    here = browsers.all_here(_system(), os.environ, _is_program, _registered)
    if name is None:
        found = next((one for one in here if one.private), None)
        if found is None:
            raise UsageError(
                "No browser was found that --incognito could open.", hint="Leave it out, or name one with --browser."
            )
        return found
    found = browsers.find(name, _system(), os.environ, _is_program, _registered)
    if private and (found is None or not found.private):
        raise UsageError(
            f"kiro does not know how {name} opens a private window.", hint="Leave --incognito out, or take another one."
        )
    if found is None:
        _check_other(name, here)
    return found


def _check_other(name: str, here: list[browsers.Found]) -> None:
    import webbrowser

    try:
        webbrowser.get(name)
    except webbrowser.Error:
        there_is = f"There is {', '.join(one.name for one in here)}. " if here else ""
        raise UsageError(
            f"There is no browser {name!r} here.", hint=f"{there_is}Leave --browser out, or use --no-browser."
        ) from None


def _system() -> browsers.System:
    return "win32" if sys.platform == "win32" else "darwin" if sys.platform == "darwin" else "linux"


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)  # noqa: PTH113  # a text of another system's form stays one


def _registered(program: str) -> str | None:
    """What Windows starts for this name; `None` elsewhere."""
    if sys.platform != "win32":
        return None
    import winreg

    key = rf"SOFTWARE\Microsoft\Windows\CurrentVersion\App Paths\{program}"
    for root in (winreg.HKEY_CURRENT_USER, winreg.HKEY_LOCAL_MACHINE):
        try:
            return str(winreg.QueryValue(root, key)).strip('"')
        except OSError:
            continue
    return None


def can_paste() -> bool:
    """Whether a line can be waited for beside the browser; on Windows a terminal is nothing that can be waited for."""
    return prompt.can_ask() and sys.platform != "win32"


def offer_pasting(listener: "Loopback") -> None:
    """Where somebody can type, the address that a browser elsewhere ended at is taken, too."""
    if can_paste():
        render.note("Or copy the address the browser cannot open at the end, and paste it here:")
        _take_lines(listener)


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
