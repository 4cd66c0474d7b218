"""Finds secrets where they must not be: as they are, escaped for an address, or inside base64."""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus

from kiro.emulator.server import Emulator

_TELLING = ("token", "secret", "password", "verifier", "devicecode", "apikey")
_SHORTEST = 16


def forms(secret: str) -> set[bytes]:
    """Every spelling of a secret that a log or a file could hold."""
    data = secret.encode()
    found = {data, quote(secret, safe="").encode(), quote_plus(secret).encode(), data.hex().encode()}
    for shift in range(3):
        plain = base64.b64encode(b"\0" * shift + data)
        middle = plain[4 if shift else 0 : len(plain) - 4]
        found |= {middle, middle.replace(b"+", b"-").replace(b"/", b"_")}
    return found


def leaked(secrets: Mapping[str, str], content: bytes) -> list[str]:
    """The words for each secret that is in `content` in some form."""
    return sorted(words for secret, words in secrets.items() if any(form in content for form in forms(secret)))


def secrets_of(emulator: Emulator) -> dict[str, str]:
    """Everything secret that an emulated Kiro gave away or was sent, with words for it."""
    people = emulator.people
    found = dict.fromkeys(people._access, "an access token")
    found |= dict.fromkeys(people._refresh, "a refresh token")
    found |= {client.secret: "a client secret" for client in people.clients.values()}
    for request in emulator.requests:
        found |= {value: name for name, value in _sent(request.body) if len(value) >= _SHORTEST}
    return found


def _sent(body: bytes) -> Iterable[tuple[str, str]]:
    try:
        fields = json.loads(body)
    except ValueError:
        fields = dict(parse_qsl(body.decode("utf-8", "replace")))
    return _walk(fields, "")


def _walk(value: Any, name: str) -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, key.lower().replace("_", ""))
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, name)
    elif isinstance(value, str) and name.endswith(_TELLING):
        yield name, value
