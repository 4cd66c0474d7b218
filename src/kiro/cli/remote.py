"""`kiro login remote`: sign in where the browser is on another machine.

Verifier and state of the sign-in stay in this process. What it needs is the address the browser ends at: it
is pasted at the prompt, or handed in on the page of a one-time link that a running server of the same home
shows. The link's secret is printed here and known to nobody else.
"""

import secrets
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final

from kiro.cli import healthz, render
from kiro.cli.browser import can_paste, offer_pasting
from kiro.cli.opening import SERVED_AT, server_url
from kiro.cli.signing_in import Screen
from kiro.errors import KiroError
from kiro.storage.login_links import LIFE_S, LinkPage, LoginLinks

if TYPE_CHECKING:
    import asyncio

    from kiro.auth.loopback import Loopback
    from kiro.auth.steps import Browse, ShowCode
    from kiro.home import Home
    from kiro.redaction import Secret

_LOOK_S: Final = 0.3
_WRONG: Final = "This was not the address of this sign-in. It begins with http://localhost or http://127.0.0.1."


class Remote(Screen):
    """The sign-in on this terminal and, where a server of `home` runs, on the page of a one-time link."""

    def __init__(self, home: "Home") -> None:
        self._home = home
        self._links = LoginLinks(home.database)
        self._server = running_server(home, self._links)
        self._secret: Secret | None = None
        self._watching: asyncio.Task[None] | None = None
        if self._server is None and not can_paste():
            raise KiroError(
                "No kiro server of this home is running, and nobody can paste an address here.",
                hint="Start `kiro serve`, or sign in by a code: `kiro login device`.",
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._secret is None:
            return
        if error is None:
            page = LinkPage("done", "You are signed in. This page can be closed.")
        elif isinstance(error, KiroError):
            page = LinkPage("failed", error.full_text())
        else:
            page = LinkPage("failed", "The sign-in was stopped at its terminal.")
        with suppress(KiroError):  # the sign-in counts, not its last page, which runs out by itself
            self._links.turn(self._secret, page)

    async def show_code(self, step: "ShowCode") -> None:
        self._turn(LinkPage("code", url=step.link, code=step.user_code))
        await super().show_code(step)

    async def show_page(self, step: "Browse", listener: "Loopback") -> None:
        import asyncio

        page = LinkPage("browse", url=step.url)
        self._turn(page)
        if self._watching is not None:
            self._watching.cancel()
        if self._server is not None:
            self._watching = asyncio.create_task(self._watch(page, listener))
        render.note("Or open the sign-in page itself there:\n" if self._server else "Open this in a browser there:\n")
        render.note(f"    {step.url}\n")
        offer_pasting(listener)
        render.note(f"Waiting for {LIFE_S / 60:.0f} minutes; Ctrl-C stops.")

    def _turn(self, page: LinkPage) -> None:
        """Makes the link at the first page, and tells it; afterwards shows the page on it."""
        if self._server is None:
            return
        if self._secret is not None:
            self._links.turn(self._secret, page)
            return
        self._secret = self._links.make(page)
        port = self._server.rpartition(":")[2]
        name = _public_name(self._home)
        base = f"http://{name}:{port}" if name else self._server
        render.note("Open this one-time link in a browser that reaches the server:\n")
        render.note(f"    {base}/login/{self._secret.reveal()}\n")
        if not name:
            render.note(f"From another computer, forward the port first: ssh -L {port}:127.0.0.1:{port} …\n")

    async def _watch(self, page: LinkPage, listener: "Loopback") -> None:
        """Takes what is handed in on the page, until it is the right address."""
        import asyncio

        secret = self._secret
        while secret is not None:
            await asyncio.sleep(_LOOK_S)
            try:
                address = await asyncio.to_thread(self._links.answer, secret)
                if address is None:
                    continue
                right = listener.offer(address)
                shown = LinkPage("wait", "The sign-in goes on at its terminal.") if right else _again(page)
                await asyncio.to_thread(self._links.turn, secret, shown)
            except KiroError:  # the database is busy; the next look finds the answer
                continue
            if right:
                return


def _again(page: LinkPage) -> LinkPage:
    return LinkPage("browse", _WRONG, page.url)


def _public_name(home: "Home") -> str | None:
    """The first name of `server.allowed_hosts` that other computers may use; none where the server is for this one only."""
    from kiro.storage.setting_kinds import is_loopback

    server = home.loaded.settings.server
    if is_loopback(server.host):
        return None
    return next((name for name in server.allowed_hosts if not is_loopback(name)), None)


def running_server(home: "Home", links: LoginLinks) -> str | None:
    """The address of a running server of this home: the one that can show a page made just now."""
    mark = secrets.token_hex(16)
    probe = links.make(LinkPage("wait", mark))
    try:
        for url in dict.fromkeys((home.database.meta(SERVED_AT), server_url(home))):
            if url and healthz.shows(url, f"/login/{probe.reveal()}", mark):
                return url
    finally:
        links.close(probe)
    return None
