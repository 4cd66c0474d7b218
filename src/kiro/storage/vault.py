"""One file holds every secret, each encrypted by itself; one data key opens them, wrapped by a key keeper.

    vault.json = header (keeper, wrapped data key, sum) + records {owner: {group: sealed}}

Sealed is a fresh 12-byte nonce and AES-256-GCM over the secret. What it belongs to (format version,
owner, group) is authenticated with it, so records cannot be swapped between accounts. Changing the
keeper wraps the data key anew and leaves the records alone. The sum over the header tells a wrong
passphrase from a damaged file: with an intact header only the key can be wrong.

Several processes share the file: a change takes the lock, reads the file again, changes one record
and replaces the file, flushed to the disk before the call returns. A read looks whether the file is
still the one it knows (one `stat`). Nothing decrypted is kept here but the data key. Any thread may call.
"""

import hashlib
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from kiro.errors import StorageError, VaultLocked
from kiro.storage.files import FileLock, read_private, write_private
from kiro.storage.secrets import (
    KEY_BYTES,
    Keeper,
    PassphraseKeeper,
    Surroundings,
    asked_beforehand,
    choose_keeper,
    wrapping_key,
)

_FORMAT: Final = "kiro-vault"
_VERSION: Final = 1
_NONCE_BYTES: Final = 12


class _File(msgspec.Struct, frozen=True):
    format: str
    version: int
    keeper: Keeper
    wrapped: bytes
    sum: bytes
    records: dict[str, dict[str, bytes]]


_Stamp = tuple[int, int, int]


class Vault:
    """Secrets by owner (an account or key id) and group (`credentials`, `client-key`, …). Blocking calls.

    Nothing is read or made before the first use.
    """

    def __init__(self, path: Path, around: Surroundings) -> None:
        self._path = path
        self._around = around
        self._data_key: bytes | None = None
        self._file: _File | None = None
        self._stamp: _Stamp | None = None
        self._guard = threading.RLock()

    @property
    def exists(self) -> bool:
        return self._path.exists()

    @property
    def keeper(self) -> Keeper | None:
        """Who keeps the key; `None` while there is no vault."""
        with self._guard:
            file = self._current()
        return file.keeper if file else None

    def get(self, owner: str, group: str) -> bytes | None:
        """The secret, or `None`. Raises VaultLocked without the key, StorageError when the record is damaged."""
        with self._guard:
            file = self._current()
            sealed = file.records.get(owner, {}).get(group) if file else None
            if file is None or sealed is None:
                return None
            key = self._key(file)
        opened = _open(key, sealed, _belongs(owner, group))
        if opened is None:
            raise StorageError(
                f"The stored secret {group!r} of {owner} is damaged.",
                hint="Sign the account in again, or put vault.json back from a backup.",
            )
        return opened

    def owners(self, group: str) -> tuple[str, ...]:
        """Everybody who has a secret of this group."""
        with self._guard:
            file = self._current()
        return tuple(owner for owner, groups in file.records.items() if group in groups) if file else ()

    def put(self, owner: str, group: str, secret: bytes) -> None:
        """Store one secret. On return it is on the disk."""

        def change(file: _File) -> dict[str, dict[str, bytes]]:
            sealed = _seal(self._key(file), secret, _belongs(owner, group))
            return {**file.records, owner: {**file.records.get(owner, {}), group: sealed}}

        self._change(change)

    def remove(self, owner: str, group: str | None = None) -> None:
        """Forget one secret, or with no `group` all of the owner."""

        def change(file: _File) -> dict[str, dict[str, bytes]]:
            records = dict(file.records)
            kept = {name: sealed for name, sealed in records.pop(owner, {}).items() if group and name != group}
            return {**records, owner: kept} if kept else records

        if self.exists:
            self._change(change)

    def rewrap(self, keeper: Keeper, key: bytes) -> None:
        """Give the data key to another keeper (`secrets.keeper_named`). The records stay as they are."""
        with self._guard, self._lock():
            file = self._read() or self._made()
            self._write(_with_header(keeper, key, self._key(file), file.records))

    def _change(self, change: Callable[[_File], dict[str, dict[str, bytes]]]) -> None:
        if not self.exists:
            self._around = asked_beforehand(self._around)
        with self._guard, self._lock():
            file = self._read() or self._made()
            self._write(msgspec.structs.replace(file, records=change(file)))

    def _lock(self) -> FileLock:
        return FileLock(self._path.with_name(self._path.name + ".lock"))

    def _made(self) -> _File:
        keeper, key = choose_keeper(self._around)
        self._data_key = secrets.token_bytes(KEY_BYTES)
        return _with_header(keeper, key, self._data_key, {})

    def _current(self) -> _File | None:
        stamp = _stamp(self._path)
        if self._file is None or stamp != self._stamp:
            return self._read()
        return self._file

    def _read(self) -> _File | None:
        stamp = _stamp(self._path)
        data = read_private(self._path)
        file = None if data is None else _parsed(data, self._path)
        if file is None or self._file is None or file.wrapped != self._file.wrapped:
            self._data_key = None
        self._file, self._stamp = file, stamp
        return file

    def _write(self, file: _File) -> None:
        write_private(self._path, msgspec.json.format(msgspec.json.encode(file), indent=1))
        self._file, self._stamp = file, _stamp(self._path)

    def _key(self, file: _File) -> bytes:
        if self._data_key is None:
            self._data_key = _unwrapped(file, self._around)
        return self._data_key


def _parsed(data: bytes, path: Path) -> _File:
    hint = "Put it back from a backup (`kiro backup list`), or delete it and sign in again."
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} is damaged and cannot be read.", hint=hint) from error
    if file.format != _FORMAT or file.version > _VERSION:
        raise StorageError(f"{path} was written by a newer kiro.", hint="Update kiro.")
    if file.sum != _sum(file.keeper, file.wrapped):
        raise StorageError(f"The header of {path} is damaged.", hint=hint)
    return file


def _unwrapped(file: _File, around: Surroundings) -> bytes:
    key = _open(wrapping_key(file.keeper, around), file.wrapped, _belongs("", "data-key"))
    if key is None:
        if isinstance(file.keeper, PassphraseKeeper):
            raise VaultLocked("The passphrase is wrong.", hint="Try again; nothing was changed.")
        raise VaultLocked(
            "The key does not fit the stored sign-ins.",
            hint="It belongs to another vault; nothing was changed. `kiro doctor` shows who keeps the key.",
        )
    return key


def _with_header(keeper: Keeper, key: bytes, data_key: bytes, records: dict[str, dict[str, bytes]]) -> _File:
    wrapped = _seal(key, data_key, _belongs("", "data-key"))
    return _File(_FORMAT, _VERSION, keeper, wrapped, _sum(keeper, wrapped), records)


def _sum(keeper: Keeper, wrapped: bytes) -> bytes:
    return hashlib.sha256(msgspec.json.encode((_FORMAT, _VERSION, keeper, wrapped))).digest()[:12]


def _belongs(owner: str, group: str) -> bytes:
    """The associated data; a NUL cannot be part of an id, so the parts cannot run into each other."""
    return f"{_FORMAT}/{_VERSION}\0{owner}\0{group}".encode()


def _seal(key: bytes, secret: bytes, belongs: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, secret, belongs)


def _open(key: bytes, sealed: bytes, belongs: bytes) -> bytes | None:
    """The secret, or `None` when key, owner or content do not fit."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], belongs)
    except (InvalidTag, ValueError):
        return None


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
