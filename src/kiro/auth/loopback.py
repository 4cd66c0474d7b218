"""A listener on this computer for one answer: the browser coming back from a sign-in page.

It binds 127.0.0.1 only, takes GET only, reads at most 16 KiB of head, and ends with the first callback
whose state is right (compared in constant time). Anything else (favicon, repeats, another program's
guess) gets a short refusal and changes nothing.
"""

import asyncio
import hmac
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

from kiro.auth.steps import Browse, Callback, SignInFailed
from kiro.errors import KiroError

_HEAD_BYTES: Final = 16 * 1024
_HEAD_S: Final = 10.0
_START: Final = "/start"
_PATHS: Final = ("/oauth/callback", "/signin/callback")
_PAGE: Final = (
    '<!doctype html><meta charset="utf-8"><title>kiro</title>'
    '<body style="font:1.1em sans-serif;margin:4em auto;max-width:30em">{text}</body>'
)


class Loopback:
    """Use as `async with`; `port` is the one that was free, `answer` waits for the browser."""

    def __init__(self, ports: tuple[int, ...] = ()) -> None:
        self._ports = ports
        self._server: asyncio.Server | None = None
        self._waiting: tuple[Browse, asyncio.Future[Callback]] | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        for port in self._ports or (0,):
            try:
                self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=_HEAD_BYTES)
            except OSError:
                continue
            self.port = self._server.sockets[0].getsockname()[1]
            return self
        raise KiroError(
            f"None of the ports {', '.join(map(str, self._ports))} is free on this computer; Kiro allows no other.",
            hint="End the program that uses one of them, or sign in by code: add --device.",
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    @property
    def start_url(self) -> str:
        """An address of this computer that leads to the sign-in page, without anything of the sign-in in it."""
        return f"http://localhost:{self.port}{_START}"

    def expect(self, step: Browse) -> None:
        """From now on the callback with the state of `step` is waited for."""
        self._waiting = (step, asyncio.get_running_loop().create_future())

    def offer(self, address: str) -> bool:
        """Take the callback's address from the person, who copied it out of a browser elsewhere; whether it was right."""
        found = parse_target(address)
        if found is None or self._waiting is None or not _belongs(found, self._waiting[0]):
            return False
        if not self._waiting[1].done():
            self._waiting[1].set_result(found)
        return True

    async def answer(self, timeout_s: float) -> Callback:
        """What came back. Raises SignInFailed when nothing does in time."""
        if self._waiting is None:
            raise RuntimeError("nothing is expected")
        try:
            return await asyncio.wait_for(self._waiting[1], timeout_s)
        except TimeoutError as error:
            raise SignInFailed(
                f"The browser did not come back within {timeout_s / 60:.0f} minutes.",
                reason="timeout",
                hint="Begin again; where no browser can reach this computer, sign in by code: `kiro login device`.",
            ) from error
        finally:
            self._waiting = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_S)
            writer.write(self._reply(head))
            await writer.drain()
        except (TimeoutError, OSError, EOFError, asyncio.LimitOverrunError):
            return  # whoever connected sent no request
        finally:
            writer.close()

    def _reply(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        if method != "GET":
            return _http("405 Method Not Allowed", "Only GET.")
        target = rest.partition(" ")[0]
        found = parse_target(target)
        if self._waiting is None or (found is None and target != _START):
            return _http("404 Not Found", "Nothing is waited for here.")
        step, future = self._waiting
        if found is None:
            return _http("302 Found", "", f"Location: {step.url}\r\n")
        if not _belongs(found, step):
            return _http("400 Bad Request", "This answer belongs to another sign-in.")
        if future.done():
            return _http("404 Not Found", "The sign-in is over.")
        future.set_result(found)
        failed = "error" in found.query
        end = step.failed_url if failed else step.done_url
        if end:
            return _http("302 Found", "", f"Location: {end}\r\n")
        return _http("200 OK", "The sign-in was refused." if failed else "You are signed in. This page can be closed.")


def _belongs(found: Callback, step: Browse) -> bool:
    return hmac.compare_digest(found.query.get("state", "").encode(), step.state.reveal().encode())


def parse_target(target: str) -> Callback | None:
    """A callback from the target of a request line, or from a whole address that somebody pasted; `None` for others."""
    try:
        parts = urlsplit(target.strip())
    except ValueError:
        return None
    if parts.path not in _PATHS:
        return None
    return Callback(parts.path, dict(parse_qsl(parts.query)))


def _http(status: str, text: str, extra: str = "") -> bytes:
    body = _PAGE.format(text=text).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n{extra}\r\n"
    )
    return head.encode() + body
