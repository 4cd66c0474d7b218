"""One-time links: a sign-in that waits at a terminal meets its person in a browser elsewhere.

Two processes share the database: the terminal's, which has verifier and state of the sign-in, and a
running server, which has a page. What they pass each other (where to go, which address the browser ended
at) lies there sealed (AES-256-GCM) with a key made from the link's secret. Of the secret itself only a
hash is stored, so neither the database nor the server alone knows anything. The secret has 256 random
bits, lives for ten minutes, and each page takes one answer.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from kiro.redaction import Secret
from kiro.storage.database import Database

LIFE_S: Final = 600.0
_AFTERGLOW_S: Final = 60.0
_NONCE_BYTES: Final = 12
_LONGEST_ANSWER: Final = 16_384


class LinkPage(msgspec.Struct, frozen=True):
    """What the person sees. `browse`: go to `url` and bring back the address it ends at; `code`: confirm `code` at `url`."""

    kind: Literal["wait", "browse", "code", "done", "failed"]
    text: str = ""
    url: str = ""
    code: str = ""

    def __repr__(self) -> str:
        return f"LinkPage({self.kind})"


class LoginLinks:
    """Blocking calls, any process. `clock` tells seconds since 1970."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def make(self, page: LinkPage) -> Secret:
        """A new link; those that are too old are forgotten."""
        secret = Secret(secrets.token_urlsafe(32))
        now = self._clock()
        with self._database.change() as change:
            change.run("DELETE FROM login_links WHERE expires_at <= ?", (now,))
            change.run(
                "INSERT INTO login_links VALUES (?, ?, ?, ?, NULL)",
                (_hash(secret), now + LIFE_S, page.kind == "browse", _seal(secret, b"page", msgspec.json.encode(page))),
            )
        return secret

    def turn(self, secret: Secret, page: LinkPage) -> None:
        """Show another page; an answer to the one before is gone. The last page stays for a minute only."""
        ends = self._clock() + (_AFTERGLOW_S if page.kind in ("done", "failed") else LIFE_S)
        with self._database.change() as change:
            change.run(
                "UPDATE login_links SET page = ?, waits = ?, answer = NULL, expires_at = min(expires_at, ?)"
                " WHERE hash = ?",
                (_seal(secret, b"page", msgspec.json.encode(page)), page.kind == "browse", ends, _hash(secret)),
            )

    def close(self, secret: Secret) -> None:
        with self._database.change() as change:
            change.run("DELETE FROM login_links WHERE hash = ?", (_hash(secret),))

    def answer(self, secret: Secret) -> str | None:
        """What was handed in for the page that is shown."""
        row = self._database.row("SELECT answer FROM login_links WHERE hash = ?", (_hash(secret),))
        return None if row is None or row["answer"] is None else _open(secret, b"answer", row["answer"]).decode()

    def page(self, secret: Secret) -> LinkPage | None:
        """The page behind a link; `None` for one that never was, is used up or too old."""
        stored = self._stored(secret)
        if stored is None:
            return None
        if stored.answered:
            return LinkPage("wait", "The address is handed to the terminal that waits for it.")
        return msgspec.json.decode(_open(secret, b"page", stored.page), type=LinkPage)

    def hand_in(self, secret: Secret, text: str) -> bool:
        """Whether the answer was taken: the page waits for one and has none yet."""
        stored = self._stored(secret)
        if stored is None or not 0 < len(text) <= _LONGEST_ANSWER:
            return False
        sealed = _seal(secret, b"answer", text.encode())
        with self._database.change() as change:
            return bool(
                change.run(
                    "UPDATE login_links SET answer = ? WHERE hash = ? AND waits AND answer IS NULL AND expires_at > ?",
                    (sealed, stored.hash, self._clock()),
                )
            )

    def _stored(self, secret: Secret) -> "_Stored | None":
        """A living link. All of them are compared, in constant time."""
        wanted, found = _hash(secret), None
        sql = "SELECT hash, page, answer IS NOT NULL AS answered FROM login_links WHERE expires_at > ?"
        for row in self._database.rows(sql, (self._clock(),)):
            if hmac.compare_digest(row["hash"], wanted):
                found = _Stored(row["hash"], row["page"], bool(row["answered"]))
        return found


class _Stored(msgspec.Struct, frozen=True):
    hash: bytes
    page: bytes
    answered: bool


def _hash(secret: Secret) -> bytes:
    return hashlib.sha256(b"kiro login link\0" + secret.reveal().encode()).digest()


def _key(secret: Secret) -> bytes:
    """Another digest of the secret, which has enough bits to need no stretching."""
    return hmac.digest(secret.reveal().encode(), b"kiro login link: key", "sha256")


def _seal(secret: Secret, what: bytes, data: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(_key(secret)).encrypt(nonce, data, what)


def _open(secret: Secret, what: bytes, sealed: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(_key(secret)).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], what)
