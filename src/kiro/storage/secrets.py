"""Who keeps the key of the vault: the OS keyring, a key file named by the environment, a passphrase, or our own key file.

The first usable one in that order is taken when the vault is made; the choice is written in the
vault's header and stays. If the chosen keeper cannot be reached later, the vault stays closed and
says so: it never falls back to a weaker one. Token sets are too long for some keyrings, so a keyring
holds only a key text of 44 characters.

Which keyrings count: the systems' own (macOS, Windows, Secret Service, libsecret, KWallet), recognised
by module name; never a plain-text, null or failing backend, which `keyring` would pick in silence on
a computer without a desktop. Facts are from the source of keyring 25.7.

The own key file protects against backups, synchronised folders and accidental reads, not against
programs that run as the same user.
"""

import base64
import binascii
import hashlib
import os
import queue
import secrets
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, TypeVar, assert_never

import msgspec

from kiro.errors import StorageError, VaultLocked
from kiro.storage.files import exposure, read_private, write_private

T = TypeVar("T")

KEY_BYTES: Final = 32
_SERVICE: Final = "kiro-proxy"
_MIN_KEY_FILE_BYTES: Final = 32
_ALLOWED_KEYRINGS: Final = (
    "keyring.backends.macOS",
    "keyring.backends.Windows",
    "keyring.backends.SecretService",
    "keyring.backends.libsecret",
    "keyring.backends.kwallet",
)


class KeyringKeeper(msgspec.Struct, frozen=True, tag="keyring"):
    """The wrapping key is the keyring's password of `user`; `backend` is told to the person only."""

    user: str
    backend: str


class NamedFileKeeper(msgspec.Struct, frozen=True, tag="named-file"):
    """The file named by KIRO_VAULT_KEY_FILE. Its path may change (systemd credentials), so it is not stored."""


class PassphraseKeeper(msgspec.Struct, frozen=True, tag="passphrase"):
    """scrypt of the passphrase; about 0.35 s with these parameters."""

    salt: bytes
    n: int = 2**17
    r: int = 8
    p: int = 1


class OwnFileKeeper(msgspec.Struct, frozen=True, tag="own-file"):
    """A key file we made, mode 0600."""


Keeper: TypeAlias = KeyringKeeper | NamedFileKeeper | PassphraseKeeper | OwnFileKeeper


class KeyringBackend(Protocol):
    """What we use of a `keyring` backend."""

    def get_password(self, service: str, username: str) -> str | None: ...
    def set_password(self, service: str, username: str, password: str) -> None: ...
    def delete_password(self, service: str, username: str) -> None: ...


def system_keyring() -> KeyringBackend:
    """The backend `keyring` selects. Importing and probing it may take a second."""
    import keyring

    return keyring.get_keyring()


class Surroundings(msgspec.Struct, frozen=True):
    """What the key may come from.

    `ask_passphrase(new)` asks a person: once to open (`new` False), or for a new passphrase (`new` True,
    where `None` means that the person wants none). Leave it out where nobody can answer.
    `use_keyring` False skips the keyring when choosing, for throw-away homes. `keyring` gives the backend,
    which may ask a person; it counts as absent after `keyring_wait_s`.
    """

    key_file: Path
    env: Mapping[str, str] = {}
    ask_passphrase: Callable[[bool], str | None] | None = None
    use_keyring: bool = True
    keyring: Callable[[], KeyringBackend] = system_keyring
    keyring_wait_s: float = 10.0


def choose_keeper(around: Surroundings) -> tuple[Keeper, bytes]:
    """The first usable keeper for a new vault and its wrapping key, which it now holds."""
    if around.use_keyring and not _surely_without_keyring(around.env):
        found = _new_keyring_key(around)
        if found is not None:
            return found
    if around.env.get("KIRO_VAULT_KEY_FILE"):
        return NamedFileKeeper(), _named_file_key(around.env)
    passphrase = around.env.get("KIRO_VAULT_PASSPHRASE")
    if not passphrase and around.ask_passphrase is not None:
        passphrase = around.ask_passphrase(True)
    if passphrase:
        return new_passphrase(passphrase)
    return OwnFileKeeper(), _new_own_file(around.key_file)


def asked_beforehand(around: Surroundings) -> Surroundings:
    """The same surroundings with a new passphrase already asked for, if `choose_keeper` would surely ask.

    For callers that hold a lock while they choose: nobody else should wait for a person's answer.
    """
    ask = around.ask_passphrase
    env = around.env
    settled = env.get("KIRO_VAULT_KEY_FILE") or env.get("KIRO_VAULT_PASSPHRASE")
    if ask is None or settled or (around.use_keyring and not _surely_without_keyring(env)):
        return around
    answer = ask(True)
    return msgspec.structs.replace(around, ask_passphrase=lambda new: answer if new else ask(False))


def keeper_named(word: str, around: Surroundings) -> tuple[Keeper, bytes]:
    """A keeper chosen by a person: `keyring`, `named-file`, `passphrase` or `own-file`. Raises when it is not usable."""
    match word:
        case "keyring":
            found = _new_keyring_key(around)
            if found is None:
                raise VaultLocked("This computer offers no keyring that can be trusted with the key.")
            return found
        case "named-file":
            return NamedFileKeeper(), _named_file_key(around.env)
        case "passphrase":
            text = around.env.get("KIRO_VAULT_PASSPHRASE") or (around.ask_passphrase and around.ask_passphrase(True))
            if not text:
                raise VaultLocked("No passphrase was given.")
            return new_passphrase(text)
        case "own-file":
            return OwnFileKeeper(), _own_file_key(around.key_file) or _new_own_file(around.key_file)
        case _:
            raise StorageError(f"There is no key source {word!r}: keyring, named-file, passphrase, own-file.")


def wrapping_key(keeper: Keeper, around: Surroundings) -> bytes:
    """The 32-byte key from its keeper. Raises VaultLocked when the keeper cannot give it; tries no other one."""
    match keeper:
        case KeyringKeeper(user):
            return _keyring_key(user, around)
        case NamedFileKeeper():
            return _named_file_key(around.env)
        case PassphraseKeeper():
            return _passphrase_key(keeper, around)
        case OwnFileKeeper():
            key = _own_file_key(around.key_file)
            if key is None:
                raise VaultLocked(
                    f"The key file {around.key_file} is missing, so the stored sign-ins cannot be read.",
                    hint="Put it back from a backup; without it the accounts have to be signed in again.",
                )
            return key
        case _:
            assert_never(keeper)


def new_passphrase(passphrase: str) -> tuple[PassphraseKeeper, bytes]:
    keeper = PassphraseKeeper(secrets.token_bytes(16))
    return keeper, _scrypt(keeper, passphrase)


def describe(keeper: Keeper) -> str:
    """For a person: who keeps the key."""
    match keeper:
        case KeyringKeeper(_, backend):
            return f"the system's keyring ({backend})"
        case NamedFileKeeper():
            return "the key file named by KIRO_VAULT_KEY_FILE"
        case PassphraseKeeper():
            return "a passphrase"
        case OwnFileKeeper():
            return "a key file of our own"
        case _:
            assert_never(keeper)


def allowed_keyring(backend: object) -> bool:
    """True for the systems' own keyrings, and for a chain in which all members are."""
    module = type(backend).__module__
    if module == "keyring.backends.chainer":
        members = list(getattr(backend, "backends", ()))
        return bool(members) and all(allowed_keyring(member) for member in members)
    return module in _ALLOWED_KEYRINGS and float(getattr(backend, "priority", 1)) >= 1


def _surely_without_keyring(env: Mapping[str, str]) -> bool:
    """A Linux computer without a session bus has no keyring; asking would cost a third of a second."""
    if not sys.platform.startswith("linux") or env.get("PYTHON_KEYRING_BACKEND") or env.get("DBUS_SESSION_BUS_ADDRESS"):
        return False
    runtime = env.get("XDG_RUNTIME_DIR")
    return not (runtime and Path(runtime, "bus").exists())


def _new_keyring_key(around: Surroundings) -> tuple[Keeper, bytes] | None:
    """A fresh key, stored in the keyring and read back; `None` when there is no keyring fit for it."""
    user = secrets.token_hex(8)
    text = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()

    def store() -> Keeper | None:
        backend = around.keyring()
        if not allowed_keyring(backend):
            return None
        backend.set_password(_SERVICE, f"probe-{user}", text)
        works = backend.get_password(_SERVICE, f"probe-{user}") == text
        backend.delete_password(_SERVICE, f"probe-{user}")
        if not works:
            return None
        backend.set_password(_SERVICE, user, text)
        return KeyringKeeper(user, f"{type(backend).__module__}.{type(backend).__name__}")

    try:
        keeper = _in_time(store, around.keyring_wait_s)
    except Exception:  # noqa: BLE001  # backends raise what they like (pywintypes.error, ImportError); any failure means "not usable"
        return None
    return None if keeper is None else (keeper, base64.b64decode(text))


def _keyring_key(user: str, around: Surroundings) -> bytes:
    hint = "Unlock the keyring and try again; kiro does not switch to another key source by itself."
    try:
        text = _in_time(lambda: around.keyring().get_password(_SERVICE, user), around.keyring_wait_s)
    except Exception as error:
        raise VaultLocked(f"The system's keyring did not give the key ({type(error).__name__}).", hint=hint) from error
    if text is None:
        raise VaultLocked("The system's keyring does not have the key of the stored sign-ins.", hint=hint)
    return _decoded(text, "The key in the system's keyring")


def _in_time(ask: Callable[[], T], wait_s: float) -> T:
    """Run a keyring call that may wait for a person. Raises TimeoutError when it does; the thread is left to itself."""
    answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((True, ask()))
        except Exception as error:  # noqa: BLE001  # carried over to the waiting thread
            answers.put((False, error))

    threading.Thread(target=run, name="keyring", daemon=True).start()
    try:
        good, value = answers.get(timeout=wait_s)
    except queue.Empty:
        raise TimeoutError from None
    if not good:
        raise value
    return value  # type: ignore[no-any-return]  # the queue carries what `ask` returned


def _named_file_key(env: Mapping[str, str]) -> bytes:
    name = env.get("KIRO_VAULT_KEY_FILE")
    if not name:
        raise VaultLocked(
            "The stored sign-ins are locked by a key file, and KIRO_VAULT_KEY_FILE does not name it.",
            hint="Set KIRO_VAULT_KEY_FILE to the file used when the vault was made.",
        )
    path = Path(name).expanduser()
    content = read_private(path)
    if content is None:
        raise VaultLocked(f"The key file {path} (KIRO_VAULT_KEY_FILE) does not exist.")
    problem = exposure(path)
    if problem:
        raise VaultLocked(f"The key file is not private: {problem}")
    content = content.strip()
    if len(content) < _MIN_KEY_FILE_BYTES:
        raise VaultLocked(
            f"The key file {path} holds only {len(content)} bytes; {_MIN_KEY_FILE_BYTES} or more are needed.",
            hint="`openssl rand -base64 48` makes a good one.",
        )
    return hashlib.sha256(b"kiro-vault key file\0" + content).digest()


def _passphrase_key(keeper: PassphraseKeeper, around: Surroundings) -> bytes:
    passphrase = around.env.get("KIRO_VAULT_PASSPHRASE")
    if not passphrase and around.ask_passphrase is not None:
        passphrase = around.ask_passphrase(False)
    if not passphrase:
        raise VaultLocked(
            "The stored sign-ins are locked by a passphrase.",
            hint="Set KIRO_VAULT_PASSPHRASE, or run the command in a terminal.",
        )
    return _scrypt(keeper, passphrase)


def _scrypt(keeper: PassphraseKeeper, passphrase: str) -> bytes:
    memory = 128 * keeper.n * keeper.r * keeper.p
    return hashlib.scrypt(
        passphrase.encode(), salt=keeper.salt, n=keeper.n, r=keeper.r, p=keeper.p, maxmem=2 * memory, dklen=KEY_BYTES
    )


def _new_own_file(path: Path) -> bytes:
    existing = _own_file_key(path)
    if existing is not None:
        return existing
    key = secrets.token_bytes(KEY_BYTES)
    write_private(path, base64.b64encode(key) + os.linesep.encode())
    return key


def _own_file_key(path: Path) -> bytes | None:
    content = read_private(path)
    return None if content is None else _decoded(content.decode("ascii", "replace"), f"The key file {path}")


def _decoded(text: str, what: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise StorageError(f"{what} is damaged.", hint="Put it back from a backup.")
    return key
