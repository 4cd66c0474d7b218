"""Secrets never reach a log, an error text or a screen: a masked type, and two layers of cleaning for everything else.

Layer one goes by structure: whatever stands under a telling name (`refreshToken`, `Authorization`,
`client_secret`, …) is replaced. Layer two goes by shape, for free text: tokens that are recognisable
by themselves, and `name=value` or `"name": "value"` pairs inside strings, where a walk over keys
sees only one long text (a database row is JSON inside SQL). Some secrets have no shape and no name
(free lines of a file), therefore rejected input is never logged at all.

The mark is fixed: not even a prefix of a secret is shown.
"""

import hmac
import logging
import re
from typing import Any, Final, NoReturn, SupportsIndex

MARK: Final = "[hidden]"

_SECRET_NAMES: Final = frozenset(
    {
        "authorization",
        "proxyauthorization",
        "cookie",
        "setcookie",
        "xapikey",
        "xgoogapikey",
        "accesstoken",
        "refreshtoken",
        "idtoken",
        "token",
        "clientsecret",
        "apikey",
        "kiroapikey",
        "rawkey",
        "password",
        "proxypassword",
        "passphrase",
        "secret",
        "devicecode",
        "usercode",
        "code",
        "codeverifier",
        "csrftoken",
        "sessiontoken",
        "xamzssoauthn",
    }
)
_KEY_LISTS: Final = frozenset({"apikeys", "clientkeys"})
"""Lists whose items hold a secret under the name `key`, which is too common a word to be masked everywhere."""

_TOKEN: Final = re.compile(
    r"ao[ar][A-Za-z0-9+/=_\-:]{16,}"
    r"|ksk_[A-Za-z0-9_\-]{8,}"
    r"|sk-kiro-[A-Za-z0-9_\-]{8,}"
    r"|eyJ[A-Za-z0-9_\-]{4,}\.[A-Za-z0-9_\-]{2,}\.[A-Za-z0-9_\-]*"
)
_BEARER: Final = re.compile(r"(?i)(bearer\s+)[^\s\"',;]{8,}")
_PAIR: Final = re.compile(
    r"(?i)\b(code|state|code_?verifier|user_?code|device_?code|refresh_?token|access_?token|id_?token|client_?secret"
    r"|api_?key|password|passphrase|x-amz-sso_authn)=[^&\s\"']+"
)
_QUERY_KEY: Final = re.compile(r"([?&]key=)[^&\s\"']+")
_QUOTED: Final = re.compile(
    r"(?i)(\\?[\"'](?:access_?token|refresh_?token|id_?token|client_?secret|(?:kiro_?)?api_?key|raw_?key|(?:proxy_?)?password"
    r"|passphrase|device_?code|user_?code|code_?verifier|csrf_?token|session_?token|authorization|x-api-key)\\?[\"']"
    r"\s*:\s*)(\\?[\"'])[^\"'\\]*"
)
_USERINFO: Final = re.compile(r"(?i)\b([a-z][a-z0-9+.\-]*://[^\s/:@]*):[^\s/@]+@")


class Secret:
    """A text that shows itself only to `reveal()`. Cannot be pickled; compares in constant time."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "<secret>"

    def __str__(self) -> str:
        return "<secret>"

    def __format__(self, spec: str) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a secret is not pickled")


def is_secret_name(name: str) -> bool:
    """True for a field, header or parameter that holds a secret; case, `_` and `-` do not matter."""
    return _plain(name) in _SECRET_NAMES


def redact(value: Any) -> Any:
    """The same JSON-like value with everything secret replaced, by name first and by shape below."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {key: _redact_field(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value


def redact_text(text: str) -> str:
    """Free text with token-shaped parts and named values replaced."""
    text = _QUOTED.sub(rf"\1\2{MARK}", text)
    text = _BEARER.sub(rf"\1{MARK}", text)
    text = _TOKEN.sub(MARK, text)
    text = _PAIR.sub(rf"\1={MARK}", text)
    text = _QUERY_KEY.sub(rf"\1{MARK}", text)
    return _USERINFO.sub(rf"\1:{MARK}@", text)


def without_password(url: str) -> str:
    """An address as it may be shown: the password between `:` and `@` is replaced."""
    return _USERINFO.sub(rf"\1:{MARK}@", url)


class RedactionFilter(logging.Filter):
    """Put on every handler: the message, its arguments and a traceback's text are cleaned before they are written."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = redact_text(record.getMessage())
        record.args = None
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact_text(record.exc_text)
        if record.stack_info:
            record.stack_info = redact_text(record.stack_info)
        return True


def _redact_field(name: str, item: Any) -> Any:
    plain = _plain(name)
    if plain in _SECRET_NAMES and item not in (None, ""):
        return MARK
    if plain in _KEY_LISTS and isinstance(item, list):
        return [_redact_key_row(row) for row in item]
    return redact(item)


def _redact_key_row(row: Any) -> Any:
    if isinstance(row, dict):
        return {**redact(row), **({"key": MARK} if row.get("key") else {})}
    return MARK if isinstance(row, str) else redact(row)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
