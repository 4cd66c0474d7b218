"""A file of sign-ins under a passphrase: scrypt makes the keys, AES-256-GCM seals the content.

    {"format": "kiro-accounts-sealed", "version": 1, "kdf": "scrypt", "n", "r", "p", "salt", "nonce",
     "proof", "sum", "data"}

Everything that can go wrong has a sign of its own. The JSON ends early: the file is cut. `sum`, a plain hash of all other fields, does not fit: it was damaged or changed. It
fits, but `proof`, which only the right passphrase can make, does not: the passphrase is wrong. The proof
fits and the seal does not: somebody changed the file and its sum. The header is sealed along with the data.
"""

import hashlib
import hmac
import secrets
from typing import Final

import msgspec

from kiro.errors import KiroError

FORMAT: Final = "kiro-accounts-sealed"
_VERSION: Final = 1
_NONCE_BYTES: Final = 12
_SALT_BYTES: Final = 16
_KEY_BYTES: Final = 32
_MOST_MEMORY: Final = 1 << 30
"""A file that asks for more than 1 GiB of memory to be opened was not made by kiro."""


class WrongPassphrase(KiroError):
    """The file is whole; the passphrase is another one."""


class CutFile(KiroError):
    """The end of the file is missing."""


class TamperedFile(KiroError):
    """The content is not what was written."""


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    format: str = FORMAT
    version: int = _VERSION
    kdf: str = "scrypt"
    n: int = 2**17
    r: int = 8
    p: int = 1
    salt: bytes
    nonce: bytes


class _File(_Header, frozen=True, kw_only=True):
    proof: bytes
    sum: bytes
    data: bytes


def is_sealed(data: bytes) -> bool:
    """Whether these bytes are, or begin like, a sealed file."""
    return data.lstrip()[:80].replace(b" ", b"").replace(b"\n", b"").startswith(b'{"format":"' + FORMAT.encode() + b'"')


def seal(content: bytes, passphrase: str) -> bytes:
    """The sealed file, as text. Takes about a third of a second, on purpose."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    header = _Header(salt=secrets.token_bytes(_SALT_BYTES), nonce=secrets.token_bytes(_NONCE_BYTES))
    key, proof = _keys(header, passphrase)
    data = AESGCM(key).encrypt(header.nonce, content, _belongs(header))
    file = _File(**msgspec.structs.asdict(header), proof=proof, sum=_sum(header, proof, data), data=data)
    return msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n"


def unseal(data: bytes, passphrase: str) -> bytes:
    """The content. Raises CutFile, TamperedFile, WrongPassphrase; KiroError for a file of a newer kiro."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    file = check(data)
    key, proof = _keys(file, passphrase)
    if not hmac.compare_digest(proof, file.proof):
        raise WrongPassphrase("The passphrase is wrong.", hint="Try again; nothing was changed.")
    try:
        return AESGCM(key).decrypt(file.nonce, file.data, _belongs(file))
    except (InvalidTag, ValueError) as error:
        raise _tampered() from error


def check(data: bytes) -> _File:
    """The file, if it is whole and unchanged; needs no passphrase. Raises as `unseal` does."""
    try:
        file = msgspec.json.decode(data, type=_File)
    except msgspec.ValidationError as error:
        raise _tampered() from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if data.rstrip().endswith(b"}"):
            raise _tampered() from error
        raise CutFile(
            "The end of the file is missing.", hint="Copy or download it again; nothing was changed."
        ) from error
    if file.format != FORMAT or file.version != _VERSION or file.kdf != "scrypt":
        raise KiroError("The file was written by a newer kiro.", hint="Update kiro.")
    if not hmac.compare_digest(file.sum, _sum(file, file.proof, file.data)):
        raise _tampered()
    sane = 1 < file.n <= 2**24 and not file.n & (file.n - 1) and 0 < file.r <= 64 and 0 < file.p <= 16
    if not sane or 128 * file.n * file.r * file.p > _MOST_MEMORY or len(file.nonce) != _NONCE_BYTES:
        raise _tampered()
    return file


def _tampered() -> TamperedFile:
    return TamperedFile(
        "The file was damaged or changed after it was written.", hint="Use another copy; nothing was changed."
    )


def _keys(header: _Header, passphrase: str) -> tuple[bytes, bytes]:
    """The sealing key, and the proof of the passphrase made with the other half of what scrypt gives."""
    memory = 128 * header.n * header.r * header.p
    both = hashlib.scrypt(
        passphrase.encode("utf-8", "surrogatepass"),
        salt=header.salt,
        n=header.n,
        r=header.r,
        p=header.p,
        maxmem=2 * memory,
        dklen=2 * _KEY_BYTES,
    )
    return both[:_KEY_BYTES], hmac.digest(both[_KEY_BYTES:], b"kiro export passphrase", "sha256")


def _belongs(header: _Header) -> bytes:
    """The header as it is sealed along with the data."""
    fields = {name: getattr(header, name) for name in _Header.__struct_fields__}
    return msgspec.json.encode(fields)


def _sum(header: _Header, proof: bytes, data: bytes) -> bytes:
    return hashlib.sha256(_belongs(header) + proof + data).digest()[:16]
