"""The fields of one account record, under our names, however the program that wrote it spelled them.

Blank texts are missing values. Nested `credentials` go before the fields around them. Where both
spellings of a field are present and differ, camelCase wins.
"""

import re
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

from kiro.auth.credentials import is_region
from kiro.redaction import Secret

NAMES: Final[dict[str, tuple[str, ...]]] = {
    "access": ("accessToken", "access_token"),
    "refresh": ("refreshToken", "refresh_token"),
    "client_id": ("clientId", "client_id"),
    "client_secret": ("clientSecret", "client_secret"),
    "client_hash": ("clientIdHash", "client_id_hash"),
    "auth_region": ("authRegion", "auth_region"),
    "region": ("region", "idcRegion", "idc_region"),
    "api_region": ("apiRegion", "api_region"),
    "method": ("authMethod", "auth_method", "auth"),
    "provider": ("provider", "idp", "socialProvider"),
    "token_endpoint": ("tokenEndpoint", "token_endpoint"),
    "issuer": ("issuerUrl", "issuer_url"),
    "scopes": ("scopes", "scope", "refresh_scope"),
    "arn": ("profileArn", "profile_arn"),
    "start_url": ("startUrl", "start_url"),
    "email": ("email",),
    "user_id": ("userId", "user_id"),
    "machine_id": ("machineId", "machine_id"),
    "api_key": ("kiroApiKey", "kiro_api_key"),
    "name": ("nickname", "name", "label"),
    "endpoint": ("endpoint",),
    "status": ("status",),
    "proxy": ("proxyUrl", "proxyURL", "proxy_url"),
    "proxy_user": ("proxyUsername",),
    "proxy_password": ("proxyPassword",),
}
EXPIRY_NAMES: Final = ("expiresAt", "expires_at", "expire")
REGISTRATION_EXPIRY_NAMES: Final = ("registrationExpiresAt", "client_secret_expires_at", "clientSecretExpiresAt")


class RecordRefused(Exception):  # a verdict that ends the reading of one record, not a fault
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Fields:
    """A record's fields under our names, with the warnings raised while reading them."""

    def __init__(self, item: dict[str, Any]) -> None:
        inner = item.get("credentials")
        self.raw: dict[str, Any] = dict(item)
        if isinstance(inner, dict):
            self.raw.update({name: value for name, value in inner.items() if not _blank(value)})
        self.warnings: set[str] = set()

    def text(self, name: str) -> str | None:
        present: dict[str, str] = {}
        for spelling in NAMES[name]:
            value = self.raw.get(spelling)
            if isinstance(value, list) and name == "scopes":
                value = " ".join(part for part in value if isinstance(part, str))
            if isinstance(value, str) and value.strip():
                present[spelling] = _whole_characters(value.strip(), name)
        by_word: dict[str, str] = {}
        for spelling, value in present.items():
            if by_word.setdefault(spelling.replace("_", "").lower(), value) != value:
                self.warnings.add("W_ALIAS_CONFLICT")
        return next(iter(present.values()), None)

    def region(self, name: str) -> str | None:
        text = self.text(name)
        if text is None:
            return None
        if not is_region(text.lower()):
            raise RecordRefused("R_BAD_REGION")
        return text.lower()

    def first(self, names: tuple[str, ...]) -> Any:
        return next((self.raw[name] for name in names if not _blank(self.raw.get(name))), None)


def _whole_characters(text: str, name: str) -> str:
    """Half characters (surrogates) cannot be stored or sent: a nickname loses them, a token with one is no token."""
    clean = text.encode("utf-8", "replace").decode()
    if clean != text and name != "name":
        raise RecordRefused("R_UNREADABLE")
    return clean


def read_time(value: object) -> datetime | None:
    """A moment in any spelling seen: seconds, milliseconds, numbers as text, ISO with any fraction; without zone UTC."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        try:
            value = float(text)
        except ValueError:
            return _iso(text)
    if not isinstance(value, int | float) or not value > 0:
        return None
    try:
        return datetime.fromtimestamp(value / 1000 if value >= 1e11 else value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def machine_id(text: str | None) -> str | None:
    """64 hex digits; a UUID is written twice without its dashes."""
    plain = (text or "").replace("-", "").lower()
    if re.fullmatch(r"[0-9a-f]{32}", plain):
        plain *= 2
    return plain if re.fullmatch(r"[0-9a-f]{64}", plain) else None


def is_priority(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31


def is_proxy(text: str) -> bool:
    """`direct`, or an address that a proxy can have."""
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return text == "direct" or (named and bool(re.fullmatch(r"(?i)(https?|socks5h?)://[^/\s]+/?", text)))


def proxy_of(fields: Fields) -> Secret | None:
    """The record's proxy as one address; one that cannot be used is dropped with a remark."""
    url = fields.text("proxy")
    if url is None:
        return None
    user, password = fields.text("proxy_user"), fields.text("proxy_password")
    scheme, separator, rest = url.partition("://")
    if separator and user and "@" not in rest:
        login = quote(user, safe="") + (":" + quote(password, safe="") if password else "")
        url = f"{scheme}://{login}@{rest}"
    if not is_proxy(url):
        fields.warnings.add("W_BAD_PROXY")
        return None
    return Secret(url)


def _iso(text: str) -> datetime | None:
    text = re.sub(r"(\.\d{6})\d+", r"\1", text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
