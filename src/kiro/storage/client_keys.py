"""Keys that clients show to the proxy: looked up by a keyed hash, kept in the vault for `kiro keys show`.

The database holds a keyed hash (BLAKE2b) under a salt of this installation, so a copy of it gives no key away.
A server keeps a `KeyRing` in memory and asks it per request, without touching the disk.
"""

import hashlib
import re
import secrets
import sqlite3
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

import msgspec

from kiro.errors import StorageError, UsageError
from kiro.redaction import Secret
from kiro.storage.database import Change, Database
from kiro.storage.vault import Vault

_GROUP: Final = "client-key"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MIN_CHARACTERS: Final = 8
_SALT: Final = "client_key_salt"
_SELECT: Final = (
    "SELECT *, (SELECT group_concat(account, ' ') FROM client_key_accounts WHERE client_key = client_keys.id)"
    " AS accounts FROM client_keys"
)


class ClientKey(msgspec.Struct, frozen=True):
    """A key without its text. `last4` are its last characters, for recognising it.

    `accounts` are the ids of the accounts it may use, None for all; empty when those it had are removed.
    `account` is the id of the one it asks first, None for whose turn it is.
    """

    id: str
    name: str
    enabled: bool
    last4: str
    created_at: datetime
    accounts: frozenset[str] | None = None
    account: str | None = None


class KeyRing:
    """The keys as they were when it was made, disabled ones too: who shows one is told so. `version` tells whether it is still current."""

    def __init__(self, version: int, salt: bytes, keys: dict[bytes, ClientKey]) -> None:
        self.version = version
        self._salt = salt
        self._keys = keys

    def match(self, text: str) -> ClientKey | None:
        """The key with this text. Only a hash is compared, so the time tells nothing about the text."""
        return self._keys.get(_hash(self._salt, text))

    def __len__(self) -> int:
        return len(self._keys)


class ClientKeys:
    """The stored keys. Blocking calls; a key is named by its name or its id."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def version(self) -> int:
        """Changes whenever any process changes a key."""
        return self._database.counter("client_keys_version")

    def ring(self) -> KeyRing:
        """The keys, for a server."""
        version = self.version()
        rows = self._database.rows(_SELECT)
        return KeyRing(version, self._salt(), {bytes(row["hash"]): _read(row) for row in rows})

    def list(self) -> list[ClientKey]:
        return [_read(row) for row in self._database.rows(f"{_SELECT} ORDER BY created_at, id")]

    def get(self, name: str) -> ClientKey:
        """Raises UsageError when there is no such key."""
        row = self._database.row(f"{_SELECT} WHERE name = ? OR id = ?", (name, name))
        if row is None:
            raise UsageError(f"There is no client key {name!r}.", hint="`kiro keys list` shows them.")
        return _read(row)

    def create(
        self,
        name: str,
        text: str | None = None,
        *,
        accounts: Collection[str] | None = None,
        account: str | None = None,
    ) -> tuple[ClientKey, Secret]:
        """A new key; `text` is the person's own choice, otherwise a random one is made. The rest is as for `bind`."""
        check_name(name)
        text = text or new_text()
        _check_text(text)
        key = ClientKey(secrets.token_hex(6), name, True, text[-4:], datetime.now(UTC))
        salt = self._salt()
        self._refuse_taken(name, _hash(salt, text))
        self._vault.put(key.id, _GROUP, text.encode())
        with self._database.change() as change:
            change.run(
                "INSERT INTO client_keys (id, name, hash, last4, enabled, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                (key.id, name, _hash(salt, text), key.last4, True, key.created_at.isoformat()),
            )
            _bind(change, key, accounts, account)
        return self.get(key.id), Secret(text)

    def show(self, name: str) -> Secret:
        """The text of a key, from the vault."""
        key = self.get(name)
        text = self._vault.get(key.id, _GROUP)
        if text is None:
            raise StorageError(
                f"The text of the client key {key.name} is not stored.",
                hint=f"`kiro keys rotate {key.name}` makes a new one.",
            )
        return Secret(text.decode())

    def rename(self, name: str, new_name: str) -> ClientKey:
        check_name(new_name)
        key = self.get(name)
        if new_name.lower() != key.name.lower():
            self._refuse_taken(new_name, None)
        return self._update(key.id, "name", new_name)

    def enable(self, name: str, enabled: bool) -> ClientKey:
        return self._update(self.get(name).id, "enabled", enabled)

    def bind(
        self,
        name: str,
        *,
        accounts: Collection[str] | msgspec.UnsetType | None = msgspec.UNSET,
        account: str | msgspec.UnsetType | None = msgspec.UNSET,
    ) -> ClientKey:
        """Which accounts (ids) the key may use, and which one when a request names none; None lifts it, UNSET leaves it."""
        key = self.get(name)
        with self._database.change() as change:
            _bind(
                change,
                key,
                key.accounts if isinstance(accounts, msgspec.UnsetType) else accounts,
                key.account if isinstance(account, msgspec.UnsetType) else account,
            )
        return self.get(key.id)

    def rotate(self, name: str, text: str | None = None) -> tuple[ClientKey, Secret]:
        """A new text for the same key; the old one stops working."""
        key = self.get(name)
        text = text or new_text()
        _check_text(text)
        digest = _hash(self._salt(), text)
        self._refuse_taken(None, digest)
        self._vault.put(key.id, _GROUP, text.encode())
        with self._database.change() as change:
            change.run("UPDATE client_keys SET hash = ?, last4 = ? WHERE id = ?", (digest, text[-4:], key.id))
        return self.get(key.id), Secret(text)

    def remove(self, name: str) -> ClientKey:
        key = self.get(name)
        with self._database.change() as change:
            change.run("DELETE FROM client_keys WHERE id = ?", (key.id,))
        self._vault.remove(key.id)
        return key

    def _update(self, key_id: str, column: str, value: str | bool) -> ClientKey:
        with self._database.change() as change:
            change.run(f"UPDATE client_keys SET {column} = ? WHERE id = ?", (value, key_id))  # noqa: S608  # `column` is a constant of the callers
        return self.get(key_id)

    def _refuse_taken(self, name: str | None, digest: bytes | None) -> None:
        row = self._database.row("SELECT name FROM client_keys WHERE name = ? OR hash = ?", (name, digest))
        if row is not None and name is not None and str(row["name"]).lower() == name.lower():
            raise UsageError(f"There is already a client key named {row['name']}.", hint="Choose another name.")
        if row is not None:
            raise UsageError(f"The client key {row['name']} already has this text.")

    def _salt(self) -> bytes:
        stored = self._database.meta(_SALT)
        if stored is not None:
            return bytes.fromhex(stored)
        with self._database.change() as change:
            return _made_salt(change)


def new_text() -> str:
    """A random key. Some clients insist on keys that begin with `sk-`."""
    return "sk-kiro-" + secrets.token_urlsafe(32)


def check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a name.",
            hint="1 to 64 letters, digits, dots, underscores and dashes; the first one a letter or digit.",
        )


def _check_text(text: str) -> None:
    if len(text) < _MIN_CHARACTERS or not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError(
            "This key cannot be used.",
            hint=f"A key has at least {_MIN_CHARACTERS} printable ASCII characters, no spaces.",
        )


def _bind(change: Change, key: ClientKey, accounts: Collection[str] | None, account: str | None) -> None:
    if accounts is not None and account is not None and account not in accounts:
        row = change.row("SELECT name FROM accounts WHERE id = ?", (account,))
        raise UsageError(
            f"{row['name'] if row else account} is not among the accounts that the client key {key.name} may use.",
            hint="Add it to --accounts, or choose another one with --account.",
        )
    change.run("UPDATE client_keys SET limited = ?, account = ? WHERE id = ?", (accounts is not None, account, key.id))
    change.run("DELETE FROM client_key_accounts WHERE client_key = ?", (key.id,))
    change.run_many("INSERT INTO client_key_accounts VALUES (?, ?)", [(key.id, one) for one in accounts or ()])


def _made_salt(change: Change) -> bytes:
    """Another process may have been faster: the one in the database counts."""
    row = change.row("SELECT value FROM meta WHERE name = ?", (_SALT,))
    if row is None:
        salt = secrets.token_bytes(32)
        change.set_meta(_SALT, salt.hex())
        return salt
    return bytes.fromhex(row[0])


def _hash(salt: bytes, text: str) -> bytes:
    """A header may carry bytes that are not UTF-8, which arrive as surrogates."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=salt, digest_size=32).digest()


def _read(row: sqlite3.Row) -> ClientKey:
    return ClientKey(
        id=row["id"],
        name=row["name"],
        enabled=bool(row["enabled"]),
        last4=row["last4"],
        created_at=datetime.fromisoformat(row["created_at"]),
        accounts=frozenset((row["accounts"] or "").split()) if row["limited"] else None,
        account=row["account"],
    )
