"""A real proxy on the way to Kiro: HTTP or SOCKS5, with or without a user name and a password."""

import asyncio
import base64
import ssl
from typing import Self
from urllib.parse import urlsplit

_SOCKS: int = 5


class Forward:
    """`used` are the logins and targets of what went through, `refused` counts who was not let in.

    With `tls` the way to the proxy itself is encrypted.
    """

    def __init__(self, login: tuple[str, str] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.login = login
        self.tls = tls
        self.used: list[tuple[str, str]] = []
        self.refused = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, scheme: str, login: str = "") -> str:
        return f"{scheme}://{login}{'@' if login else ''}127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._welcome, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            first = await reader.read(1)
            if first == bytes([_SOCKS]):
                await self._socks(reader, writer)
            elif first:
                await self._http(first, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _http(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
        headers = [line for line in lines[1:] if line and not line.lower().startswith(("proxy-", "connection:"))]
        given = next((line for line in lines if line.lower().startswith("proxy-authorization:")), "")
        login = base64.b64decode(given.rpartition(" ")[2]).decode() if given else ""
        if self.login is not None and login != ":".join(self.login):
            self.refused += 1
            writer.write(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            await writer.drain()
            return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            await self._through(reader, writer, host, int(port), login, b"HTTP/1.1 200 Connected\r\n\r\n", b"")
            return
        parts = urlsplit(target)
        path = parts._replace(scheme="", netloc="").geturl() or "/"
        head = "\r\n".join([f"{method} {path} {version}", *headers, "Connection: close", "", ""])
        await self._through(reader, writer, parts.hostname or "", parts.port or 80, login, b"", head.encode("latin-1"))

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        login = ""
        if self.login is not None:
            writer.write(bytes([_SOCKS, 2 if 2 in methods else 255]))
            if 2 not in methods:
                self.refused += 1
                return
            await reader.readexactly(1)
            user = await reader.readexactly((await reader.readexactly(1))[0])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            login = f"{user.decode()}:{password.decode()}"
            good = login == ":".join(self.login)
            writer.write(bytes([1, 0 if good else 1]))
            if not good:
                self.refused += 1
                await writer.drain()
                return
        else:
            writer.write(bytes([_SOCKS, 0]))
        _, _, _, kind = await reader.readexactly(4)
        if kind == 1:
            host = ".".join(str(part) for part in await reader.readexactly(4))
        else:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        await self._through(reader, writer, host, port, login, bytes([_SOCKS, 0, 0, 1, 0, 0, 0, 0, 0, 0]), b"")

    async def _through(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        host: str,
        port: int,
        login: str,
        welcome: bytes,
        head: bytes,
    ) -> None:
        self.used.append((login, f"{host}:{port}"))
        there, back = await asyncio.open_connection(host, port)
        writer.write(welcome)
        back.write(head)
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            back.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
