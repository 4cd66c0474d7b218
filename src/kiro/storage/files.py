"""Private files: whole or not at all, readable by the owner only, and locked across processes.

A secret file is created with its mode (never opened wide and narrowed afterwards), written beside
its target, flushed to the disk and moved into place, so a crash leaves the old file or the new one.
A symbolic link at the path of a secret file is refused: somebody else chose where it leads.
On Windows the profile folder's access list takes the place of the mode bits.
"""

import os
import secrets
import stat
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from kiro.errors import StorageError

_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0)
_LOCK_POLL_S: Final = 0.02


def make_private_folder(path: Path) -> None:
    """Make the folder and its parents, mode 0700 for the ones made here."""
    if path.is_dir():
        return
    try:
        if not path.parent.is_dir():
            make_private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The folder {path} cannot be made: {error.strerror}.") from error


def write_private(path: Path, data: bytes) -> None:
    """Replace the file's content, mode 0600. On return the bytes are on the disk. A device or pipe is not replaced."""
    refuse_link(path)
    if path.exists() and not path.is_file():
        raise StorageError(f"{path} is not a plain file.", hint="Name a file.")
    make_private_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _move(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}.", hint="Is the disk full, or the folder somebody else's?"
        ) from error


def replace_foreign(path: Path, expected: bytes, data: bytes) -> bool:
    """Replace the content of another program's file, if it still is `expected`; whether it was.

    The file keeps its mode and its owner. A reader sees the old content or the new one, never a part. A
    symbolic link is refused: its program would not follow it either.
    """
    refuse_link(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        before = path.stat()
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                _as_before(file.fileno(), before)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if path.read_bytes() != expected:
                temporary.unlink()
                return False
            refuse_link(path)
            _move(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.") from error
    return True


def read_private(path: Path) -> bytes | None:
    """The file's bytes, `None` when there is no file. A symbolic link or anything but a plain file is refused."""
    refuse_link(path)
    try:
        handle = os.open(path, os.O_RDONLY | _NO_FOLLOW | _BINARY)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StorageError(f"{path} is not a plain file.")
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error


def refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise StorageError(
            f"{path} is a symbolic link; a file with secrets has to be a plain file.",
            hint="Move the real file there, or point KIRO_HOME at its folder.",
        )


def exposure(path: Path) -> str | None:
    """What is wrong with a secret file's access rights, in words; `None` when only the owner can read it."""
    if sys.platform == "win32" or not path.exists():
        return None
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return f"{path} can be read by others (mode {mode:04o}); `chmod 600` closes it."
    return None


class FileLock:
    """One holder at a time, across processes and across threads.

    Every acquisition opens the file anew, so two threads of one process exclude each other too, and
    the lock may be released by another thread than the one that took it. The system drops it when
    the process dies. The file itself stays: deleting it would let two holders lock two files.
    """

    def __init__(self, path: Path, *, timeout_s: float = 30.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._handle: int | None = None

    def acquire(self) -> None:
        """Wait for the lock. Raises StorageError after `timeout_s`."""
        deadline = time.monotonic() + self._timeout_s
        while not self.try_acquire():
            if time.monotonic() >= deadline:
                raise self.stuck(self._timeout_s)
            time.sleep(_LOCK_POLL_S)

    def try_acquire(self) -> bool:
        """Take the lock if it is free: for those who can wait without keeping a thread."""
        make_private_folder(self._path.parent)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | _NO_FOLLOW | _BINARY, 0o600)
        if not _try_lock(handle):
            os.close(handle)
            return False
        self._handle = handle
        return True

    def stuck(self, waited_s: float) -> StorageError:
        """The error of somebody who has waited in vain."""
        return StorageError(
            f"Another program has held {self._path} for {waited_s:.0f} s.",
            hint="Is another kiro stuck? It can be ended; nothing is lost.",
        )

    def release(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            _unlock(handle)
            os.close(handle)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool:
        try:
            os.lseek(handle, 0, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

    def _as_before(handle: int, before: os.stat_result) -> None:
        """The folder's access list rules."""

    def _move(source: Path, target: Path) -> None:
        """Windows refuses while somebody reads the target, which lasts for a moment only."""
        for _ in range(50):
            try:
                source.replace(target)
            except PermissionError:
                time.sleep(_LOCK_POLL_S)
            else:
                return
        source.replace(target)

    def _sync_folder(folder: Path) -> None:
        """Windows has no flush of a folder; the rename itself is journalled."""

else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)

    def _as_before(handle: int, before: os.stat_result) -> None:
        """The mode and the owner that the file had."""
        now = os.fstat(handle)
        if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
            os.fchown(handle, before.st_uid, before.st_gid)
        os.fchmod(handle, stat.S_IMODE(before.st_mode))

    def _move(source: Path, target: Path) -> None:
        source.replace(target)

    def _sync_folder(folder: Path) -> None:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
