"""Ports of this computer: who listens on one, and which is free.

Who listens is read from /proc on Linux: the table of listening sockets gives an inode, and the
process that has this socket open is the one. Other systems, and processes of other users, give no answer.
"""

import contextlib
import os
import socket
from pathlib import Path
from typing import Final

import msgspec

from kiro.redaction import redact_text

_LISTEN: Final = "0A"
_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")
_COMMAND_CHARACTERS: Final = 80


class Owner(msgspec.Struct, frozen=True):
    """A process that listens. `command` is its command line, shortened."""

    pid: int
    command: str

    def words(self) -> str:
        return f"{self.command} (process {self.pid})"


def owner(port: int) -> Owner | None:
    """Who listens on the port, as far as the system tells."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        if _has_open(process, wanted):
            return Owner(int(process.name), _command(process))
    return None


def free_port(host: str, start: int) -> int | None:
    """The first of the next fifty ports that can be bound."""
    return next((port for port in range(start, min(start + 50, 65536)) if can_bind(host, port)), None)


def can_bind(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server binds
            probe.bind(address)
    except OSError:
        return False
    return True


def _listening_inodes(port: int) -> set[str]:
    """From lines such as `0: 0100007F:1F90 00000000:0000 0A … inode`, where the port is in hexadecimal."""
    found: set[str] = set()
    for table in _TABLES:
        with contextlib.suppress(OSError):
            for line in Path(table).read_text("ascii").splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTEN and int(words[1].rpartition(":")[2], 16) == port:
                    found.add(words[9])
    return found


def _has_open(process: Path, wanted: set[str]) -> bool:
    """Processes of other users, and such as just ended, do not tell."""
    with contextlib.suppress(OSError):
        for handle in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                if str(handle.readlink()) in wanted:
                    return True
    return False


def _command(process: Path) -> str:
    with contextlib.suppress(OSError):
        words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        return redact_text(" ".join(word for word in words if word))[:_COMMAND_CHARACTERS]
    return "a process"
