"""What values a setting can take: how each kind is read from text (environment, command line) and from TOML.

A kind turns what somebody wrote into a value or raises `BadValueError` with what would be allowed; the
caller adds which setting it was and where it was written.
"""

from typing import Any, Final, TypeAlias, assert_never
from urllib.parse import urlsplit

import msgspec

Value: TypeAlias = "bool | int | float | str | tuple[str, ...] | dict[str, str] | None"

_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})


class BadValueError(Exception):
    """The value does not fit; the text says what would."""


class Flag(msgspec.Struct, frozen=True):
    pass


class Whole(msgspec.Struct, frozen=True):
    """A whole number, both ends allowed."""

    low: int
    high: int


class Amount(msgspec.Struct, frozen=True):
    """A number with or without a fraction, both ends allowed; `optional` ones may be absent, an empty text means absent."""

    low: float
    high: float
    optional: bool = False


class Choice(msgspec.Struct, frozen=True):
    allowed: tuple[str, ...]


class Text(msgspec.Struct, frozen=True):
    """Any text; `optional` ones may be absent, an empty text means absent."""

    optional: bool = False


class Address(msgspec.Struct, frozen=True):
    """An optional URL. Plain http leads to loopback only when `loopback_http`, because tokens travel there."""

    schemes: tuple[str, ...]
    loopback_http: bool = False


class Names(msgspec.Struct, frozen=True):
    """A list of texts; separated by commas where it is written as one text."""


class Pairs(msgspec.Struct, frozen=True):
    """A table text → text; `a=b, c=d` where it is written as one text."""


Kind: TypeAlias = Flag | Whole | Amount | Choice | Text | Address | Names | Pairs


def allowed(kind: Kind) -> str:
    """What the kind takes, in words."""
    match kind:
        case Flag():
            return "true or false"
        case Whole(low, high):
            return f"a whole number from {low} to {high}"
        case Amount(low, high):
            return f"a number from {low:g} to {high:g}"
        case Choice(words):
            return "one of " + ", ".join(words)
        case Text():
            return "a text"
        case Address(schemes, loopback_http):
            only = " (plain http to this computer only)" if loopback_http else ""
            return "an address that starts with " + " or ".join(f"{scheme}://" for scheme in schemes) + only
        case Names():
            return "a list of texts"
        case Pairs():
            return "a table of texts"
        case _:
            assert_never(kind)


def from_text(kind: Kind, text: str) -> Value:
    """Read a value written as one text. Raises BadValueError."""
    text = text.strip()
    match kind:
        case Flag():
            if text.lower() in _TRUE or text.lower() in _FALSE:
                return text.lower() in _TRUE
            raise BadValueError(allowed(kind))
        case Amount(optional=True) if not text:
            return None
        case Whole() | Amount():
            try:
                return from_toml(kind, int(text) if isinstance(kind, Whole) else float(text))
            except ValueError:
                raise BadValueError(allowed(kind)) from None
        case Names():
            return tuple(part.strip() for part in text.split(",") if part.strip())
        case Pairs():
            return _pairs(kind, text)
        case Choice() | Text() | Address():
            return from_toml(kind, text)
        case _:
            assert_never(kind)


def from_toml(kind: Kind, value: Any) -> Value:
    """Check a value that already has a type. Raises BadValueError."""
    match kind:
        case Flag() if isinstance(value, bool):
            return value
        case Whole(low, high) if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        case Amount(optional=True) if value is None or value == "":
            return None
        case Amount(low, high) if isinstance(value, int | float) and not isinstance(value, bool):
            if low <= value <= high:
                return float(value)
        case Choice(words) if isinstance(value, str) and value.lower() in words:
            return value.lower()
        case Text(optional) if isinstance(value, str) and (value or optional):
            return value or None
        case Address() if isinstance(value, str):
            return _address(kind, value)
        case Names() if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        case Pairs() if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
            return dict(value)
    raise BadValueError(allowed(kind))


def is_loopback(host: str) -> bool:
    """True for the names and addresses of this computer itself."""
    host = host.lower().strip("[]")
    return host in ("localhost", "::1") or (host.startswith("127.") and host.replace(".", "").isdigit())


def _address(kind: Address, text: str) -> str | None:
    if not text:
        return None
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise BadValueError(allowed(kind)) from None
    if parts.scheme not in kind.schemes or not host:
        raise BadValueError(allowed(kind))
    if kind.loopback_http and parts.scheme == "http" and not is_loopback(host):
        raise BadValueError(allowed(kind))
    return text.rstrip("/")


def _pairs(kind: Pairs, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise BadValueError(allowed(kind) + ", written as name=value, name=value")
        found[name.strip()] = value.strip()
    return found
