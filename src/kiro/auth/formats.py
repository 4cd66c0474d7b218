"""Reads whatever file with Kiro sign-ins somebody has, without being told which program wrote it.

Bytes are told apart first (SQLite, text in one of three encodings), then the form of the JSON by an
ordered list of tests, where the first match wins. The format's name is for messages; the records
themselves all go through `records.read_record`. A bad record never stops the others.

What the codes mean is told in `auth.codes`. Nothing of refused input is ever quoted: it may be a password.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from kiro.auth.credentials import long_lived
from kiro.auth.exports import OWN_FORMAT, read_own
from kiro.auth.fields import RecordRefused
from kiro.auth.records import ImportedAccount, Reading, read_record, registration_warnings
from kiro.auth.stores import MAGIC, UnreadableStore, read_store, read_store_at

_MAX_BYTES: Final = 5 * 1024 * 1024
_METHOD_WORDS: Final = ("IdC", "social", "external_idp")


class Rejected(msgspec.Struct, frozen=True):
    """A record that was refused: its position, counted from 0, and why."""

    index: int
    code: str


class ImportReport(msgspec.Struct, frozen=True):
    """What was found. `file_errors` concern the whole input; `position` is `line 3, column 7` for broken JSON."""

    format: str
    accounts: tuple[ImportedAccount, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    warnings: frozenset[str] = frozenset()
    file_errors: tuple[str, ...] = ()
    position: str | None = None


def read_import(
    data: bytes,
    *,
    name: str,
    siblings: Callable[[str], bytes | None],
    now: datetime,
    extra_hosts: tuple[str, ...] = (),
    trusted: bool = False,
    store: Path | None = None,
) -> ImportReport:
    """Read every account in `data`.

    `name` is the file's name (a database needs it to find its `-wal`), `siblings` gives the bytes of a
    file in the same folder, `now` is aware, `extra_hosts` is the setting `auth.external_hosts`. `trusted`: the
    person's passphrase opened it, so that hosts they agreed to before are believed. `store` is where a
    database lies; its beginning is enough as `data` then. Never raises for bad input.
    """
    how = Reading(now, siblings, extra_hosts=extra_hosts, trusted=trusted)
    if data.startswith(MAGIC):
        return _from_store(data, name, how, store)
    if len(data) > _MAX_BYTES:
        return _failed("unknown", "E_TOO_LARGE")
    text, marked = _decoded(data)
    if text is None:
        return _failed("unknown", "E_ENCODING")
    report = _from_text(text.strip(), how)
    return msgspec.structs.replace(report, warnings=report.warnings | {"W_BOM"}) if marked else report


def _from_text(text: str, how: Reading) -> ImportReport:
    if not text:
        return _failed("empty", "E_EMPTY")
    if text[0] not in '{["':
        return _from_lines(text, how)
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        report = _failed("unknown", "E_NOT_JSON")
        return msgspec.structs.replace(report, position=f"line {error.lineno}, column {error.colno}")
    except (ValueError, RecursionError):
        return _failed("unknown", "E_NOT_JSON")
    match document:
        case []:
            return _failed("empty", "E_EMPTY")
        case list():
            return _from_list(document, how)
        case dict():
            return _from_object(document, how)
        case _:
            return _failed("unknown", "E_NOT_JSON_OBJECT")


def _from_list(items: list[Any], how: Reading) -> ImportReport:
    objects = [item for item in items if isinstance(item, dict)]
    if any(item.get("type") in ("json", "sqlite", "refresh_token") for item in objects):
        return _from_references(items, how)
    return _read_all(_list_format(items, objects), enumerate(items), how)


def _list_format(items: list[Any], objects: list[dict[str, Any]]) -> str:
    if any(item.get("auth") in ("Social", "IdC") for item in objects):
        return "kiro2api-auth"
    if any(isinstance(item.get("credentials"), dict) for item in objects):
        return "kam-export"
    if any(_GO_KEYS & item.keys() for item in objects):
        return "kiro-go"
    if len(objects) == len(items) and all(
        "accessToken" not in item
        and "authMethod" not in item
        and "refreshToken" in item
        and {"email", "label"} & item.keys()
        for item in objects
    ):
        return "kam-flat"
    return "kiro-rs"


_GO_KEYS: Final = frozenset({"banStatus", "weight", "overageStatus", "silent", "proxyURL"})
_NOT_IDE_KEYS: Final = _GO_KEYS | {
    "id",
    "priority",
    "authRegion",
    "apiRegion",
    "machineId",
    "disabled",
    "kiroApiKey",
    "endpoint",
    "groups",
}
_CREDENTIAL_KEYS: Final = frozenset(
    {
        "accessToken",
        "access_token",
        "refreshToken",
        "refresh_token",
        "kiroApiKey",
        "kiro_api_key",
        "authMethod",
        "auth_method",
        "clientId",
        "client_id",
    }
)


def _from_references(items: list[Any], how: Reading) -> ImportReport:
    """A list of places to look in; only its `refresh_token` entries hold a sign-in, entries without a type are remarks."""
    kinds = [item.get("type") if isinstance(item, dict) else None for item in items]
    found = [(index, item) for index, item in enumerate(items) if kinds[index] == "refresh_token"]
    report = _read_all("kiro-gateway-references", found, how)
    skipped = {"W_REFERENCES_SKIPPED"} if {"json", "sqlite"} & set(kinds) else set()
    return msgspec.structs.replace(report, warnings=report.warnings | skipped)


def _from_object(document: dict[str, Any], how: Reading) -> ImportReport:
    name, records = _object_format(document)
    if name == OWN_FORMAT:
        return _from_own(document, records, how)
    if name == "unknown":
        return _failed(name, "E_UNKNOWN_FORMAT")
    if name == "kiroproxy-config":
        return _failed(name, "E_REFERENCES_ONLY")
    if name in ("oidc-registration", "kiro-ide-profile"):
        return _failed(name, "E_NOT_A_CREDENTIAL")
    if name.startswith("kiro-cli-"):
        how = msgspec.structs.replace(how, quiet=True, fixed=_PASTED_ROWS[name], builder_without_start_url=True)
    if name == "aws-sso-cache-token":
        how = msgspec.structs.replace(how, quiet=True, fixed="oidc")
    report = _read_all(name, enumerate(records), how)
    if records is not None and _wrapper_has_secrets(document):
        return msgspec.structs.replace(report, warnings=report.warnings | {"W_WRAPPER_SECRETS_IGNORED"})
    return report


_PASTED_ROWS: Final = {
    "kiro-cli-odic-token": "oidc",
    "kiro-cli-external-idp-token": "external_idp",
    "kiro-cli-social-token": "social",
}


def _object_format(document: dict[str, Any]) -> tuple[str, list[Any]]:
    """The format's name and its records. The order of the tests is the rule: the first match wins."""
    keys = document.keys()
    has = keys.__contains__
    accounts = document.get("accounts")
    if document.get("format") == OWN_FORMAT and isinstance(accounts, list):
        return OWN_FORMAT, accounts
    if document.get("format") == "kiro-proxy-backup":
        records = document.get("credentials")
        return "kiro-go-backup", records if isinstance(records, list) else []
    if isinstance(accounts, list):
        return _container_format(document, accounts), accounts
    if document.get("type") == "kiro":
        name = "cliproxyapi-auth"
    elif has("oauth_flow"):
        name = "kiro-cli-odic-token" if has("access_token") else "oidc-registration"
    elif has("access_token") and has("token_endpoint"):
        name = "kiro-cli-external-idp-token" if has("issuer_url") else "pinealctx-kv"
    elif has("access_token") and document.get("provider") in ("google", "github"):
        name = "kiro-cli-social-token"
    elif isinstance(document.get("credentials"), dict):
        name = "kam-export"
    else:
        name = _flat_format(document)
    return name, [document]


def _container_format(document: dict[str, Any], accounts: list[Any]) -> str:
    objects = [item for item in accounts if isinstance(item, dict)]
    nested = [item for item in objects if isinstance(item.get("credentials"), dict)]
    if "app" in document or (nested and ("exportedAt" in document or any("idp" in item for item in nested))):
        return "kam-export"
    if nested:
        return "kiroproxy-export"
    return "kiroproxy-config" if any("token_path" in item for item in objects) else "kiro-go"


def _flat_format(document: dict[str, Any]) -> str:
    keys = document.keys()
    ide_method = document.get("authMethod") in _METHOD_WORDS and "provider" in keys and not _NOT_IDE_KEYS & keys
    if "clientIdHash" in keys or ide_method:
        return "kiro-ide-token"
    if {"accessToken", "startUrl", "registrationExpiresAt"} <= keys and "authMethod" not in keys:
        return "aws-sso-cache-token"
    if {"socialProvider", "idcRegion", "registrationExpiresAt"} & keys:
        return "aiclient2api"
    bare = (
        not {"accessToken", "access_token", "refreshToken", "refresh_token", "authMethod", "auth_method", "auth"} & keys
    )
    if bare and {"clientId", "clientSecret"} <= keys:
        return "oidc-registration"
    if document.get("auth") in ("Social", "IdC"):
        return "kiro2api-auth"
    if bare and {"arn", "name"} <= keys:
        return "kiro-ide-profile"
    return "kiro-rs" if _CREDENTIAL_KEYS & keys else "unknown"


def _wrapper_has_secrets(document: dict[str, Any]) -> bool:
    config = document.get("config")
    wrappers = [document] if isinstance(document.get("accounts"), list) else []
    wrappers += [config] if isinstance(config, dict) else []
    return any(wrapper.get(name) for wrapper in wrappers for name in ("password", "apiKey", "apiKeys"))


def _from_lines(text: str, how: Reading) -> ImportReport:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if lines and all(re.fullmatch(r"ksk_[A-Za-z0-9_\-]+", line) for line in lines):
        records = [{"kiroApiKey": line} for line in lines]
        return _read_all("api-key-lines", enumerate(records), how)
    if len(lines) == 1 and re.fullmatch(r"[A-Za-z0-9+/=_\-:.]{16,}", lines[0]) and "----" not in lines[0]:
        return _read_all("refresh-token-line", [(0, {"refreshToken": lines[0]})], how)
    if any("----" in line or len(re.findall(r"[,;|\t]", line)) >= 2 for line in lines) and not text.startswith("<"):
        return _failed("unsupported-lines", "E_UNSUPPORTED_LINES")
    return _failed("unknown", "E_NOT_JSON")


def _from_store(data: bytes, name: str, how: Reading, store: Path | None) -> ImportReport:
    try:
        rows = read_store(data, name, how.siblings) if store is None else read_store_at(store)
    except UnreadableStore:
        return _failed("kiro-cli-sqlite", "E_UNREADABLE_STORE")
    if not rows:
        return _failed("kiro-cli-sqlite", "E_NO_ACCOUNTS")
    how = msgspec.structs.replace(how, quiet=True, builder_without_start_url=True)
    report = _read_each(
        "kiro-cli-sqlite",
        ((index, row.record, msgspec.structs.replace(how, fixed=row.family)) for index, row in enumerate(rows)),
    )
    legacy = {"W_LEGACY_KEY"} if any(row.legacy for row in rows) else set()
    return msgspec.structs.replace(report, warnings=report.warnings | legacy)


def _from_own(document: dict[str, Any], records: list[Any], how: Reading) -> ImportReport:
    if document.get("version") != 1:
        return _failed(OWN_FORMAT, "E_NEWER")
    accounts: list[ImportedAccount] = []
    rejected: list[Rejected] = []
    seen: set[bytes] = set()
    for index, record in enumerate(records):
        try:
            account = read_own(record, index, trusted=how.trusted, extra_hosts=how.extra_hosts)
            _refuse_repeated(account, seen)
        except RecordRefused as refusal:
            rejected.append(Rejected(index, refusal.code))
        else:
            accounts.append(account)
    return ImportReport(OWN_FORMAT, tuple(accounts), tuple(rejected))


def _read_all(name: str, records: Iterable[tuple[int, Any]], how: Reading) -> ImportReport:
    return _read_each(name, ((index, record, how) for index, record in records))


def _read_each(name: str, records: Iterator[tuple[int, Any, Reading]]) -> ImportReport:
    accounts: list[ImportedAccount] = []
    rejected: list[Rejected] = []
    warnings: set[str] = set()
    seen: set[bytes] = set()
    for index, record, how in records:
        try:
            account, said = read_record(record, index, how)
            _refuse_repeated(account, seen)
        except RecordRefused as refusal:
            rejected.append(Rejected(index, refusal.code))
            warnings |= registration_warnings(record, how)
        else:
            accounts.append(account)
            warnings |= said
    return ImportReport(name, tuple(accounts), tuple(rejected), frozenset(warnings))


def _refuse_repeated(account: ImportedAccount, seen: set[bytes]) -> None:
    digest = sha256(long_lived(account.credentials).reveal().encode("utf-8", "surrogatepass")).digest()
    if digest in seen:
        raise RecordRefused("R_DUPLICATE")
    seen.add(digest)


def _decoded(data: bytes) -> tuple[str | None, bool]:
    """The text and whether it began with a byte order mark; `None` when it cannot be read."""
    marks = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
    encoding = next((name for mark, name in marks if data.startswith(mark)), None)
    try:
        return data.decode(encoding or "utf-8"), encoding is not None
    except UnicodeDecodeError:
        return None, False


def _no_constant(_name: str) -> NoReturn:
    """NaN and Infinity are not JSON, though Python reads them."""
    raise ValueError


def _failed(name: str, code: str) -> ImportReport:
    return ImportReport(name, file_errors=(code,))
