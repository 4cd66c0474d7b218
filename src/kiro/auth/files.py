"""A file of sign-ins where it lies on the disk: read as its owner leaves it, with the files that belong to it.

Its owner may be writing it at the same moment. A database is therefore never loaded as one piece (see
`stores`), and a text that cannot be understood is read again while it is only moments old.
"""

import os
import stat
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from kiro.auth.discover import profile_files
from kiro.auth.formats import ImportReport, read_import
from kiro.auth.stores import MAGIC
from kiro.errors import StorageError

MAX_BYTES: Final = 256 * 1024 * 1024
"""More of a text is not read; sign-ins are small, and what they come with may be large."""
_FRESH_S: Final = 2.0
_PAUSES_S: Final = (0.05, 0.1, 0.2)
_HALF_WRITTEN: Final = frozenset({"E_EMPTY", "E_NOT_JSON"})


def read_sign_ins(path: Path, *, now: datetime, extra_hosts: tuple[str, ...] = ()) -> ImportReport:
    """The sign-ins in a file that belongs to another program. Blocks. Raises OSError, StorageError."""
    for pause_s in (*_PAUSES_S, None):
        data, store = load(path)
        report = read_import(data, name=path.name, siblings=beside(path), now=now, extra_hosts=extra_hosts, store=store)
        if pause_s is None or not _HALF_WRITTEN & set(report.file_errors) or not _is_fresh(path):
            break
        time.sleep(pause_s)
    return report


def load(path: Path) -> tuple[bytes, Path | None]:
    """The content; of a database only its beginning, and its path, for it is read where it lies. Raises OSError."""
    with path.open("rb") as file:
        data = file.read(len(MAGIC))
        if data == MAGIC and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return data, path
        return data + file.read(MAX_BYTES), None


def beside(path: Path) -> Callable[[str], bytes | None]:
    """What gives the files that belong to the sign-in file at `path`: from its folder, or the IDE's chosen profile."""

    def read(name: str) -> bytes | None:
        places = [path.with_name(name)]
        if name == "profile.json":
            places += profile_files(path, _home(), os.environ)
        for place in places:
            try:
                if place.is_file():
                    return place.read_bytes()
            except OSError as error:
                raise StorageError(f"{place} cannot be read: {error.strerror}.") from error
        return None

    return read


def _is_fresh(path: Path) -> bool:
    return abs(time.time() - path.stat().st_mtime) < _FRESH_S


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # nobody knows this user's home
        return Path("/nonexistent")
