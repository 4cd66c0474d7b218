"""Writes sign-ins in forms that other computers and programs read: our own, kiro-rs, Account Manager.

Our own keeps everything. The other two keep what their programs know: `kiro-rs` the array of
`credentials.json`, `account-manager` the nested export of Kiro Account Manager. Each of them comes back
through `formats.read_import`. All of them hold the secrets in the open; `sealed` closes them.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, assert_never

import msgspec

from kiro.auth.credentials import (
    ApiKeyCredentials,
    BuilderIdCredentials,
    Credentials,
    ExternalIdpCredentials,
    IdcCredentials,
    SocialCredentials,
    arn_region,
    from_record,
    is_region,
    to_record,
)
from kiro.auth.fields import RecordRefused
from kiro.auth.records import ImportedAccount
from kiro.auth.refresh import endpoint_allowed
from kiro.errors import StorageError
from kiro.redaction import Secret

OWN_FORMAT: Final = "kiro-accounts"
_VERSION: Final = 1
ExportFormat: TypeAlias = Literal["kiro", "kiro-rs", "account-manager"]


class _Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An account in our own format. `credentials` is the record of the vault."""

    name: str | None = None
    credentials: msgspec.Raw
    provider: str | None = None
    email: str | None = None
    user_id: str | None = None
    start_url: str | None = None
    auth_region: str | None = None
    api_region: str | None = None
    machine_id: str | None = None
    priority: int | None = None
    enabled: bool = True
    flavour: Literal["ide", "cli"] | None = None
    proxy: str | None = None


class _Document(msgspec.Struct, frozen=True):
    format: str
    version: int
    created_at: datetime
    accounts: list[_Row]


def write(accounts: Sequence[ImportedAccount], form: ExportFormat, now: datetime) -> bytes:
    """The accounts in a format, with their secrets in the open."""
    return msgspec.json.format(_WRITERS[form](accounts, now), indent=2) + b"\n"


def read_own(item: object, index: int, *, trusted: bool, extra_hosts: tuple[str, ...]) -> ImportedAccount:
    """An account of our own format. Raises RecordRefused.

    `trusted`: the file was sealed by the person's passphrase, so what they agreed to is believed; a file in
    the open cannot send a refresh token to a host of its choice.
    """
    try:
        row = msgspec.convert(item, _OpenRow)
        credentials = from_record(msgspec.json.encode(row.credentials))
    except (msgspec.ValidationError, StorageError) as error:
        raise RecordRefused("R_NOT_AN_OBJECT" if not isinstance(item, dict) else "R_UNREADABLE") from error
    credentials = _checked(credentials, trusted=trusted, extra_hosts=extra_hosts)
    if row.api_region is not None and not is_region(row.api_region):
        raise RecordRefused("R_BAD_REGION")
    return ImportedAccount(
        index=index,
        credentials=credentials,
        auth_region=getattr(credentials, "auth_region", row.auth_region),
        api_region=row.api_region,
        enabled=row.enabled,
        provider=row.provider,
        email=row.email,
        user_id=row.user_id,
        start_url=row.start_url,
        name=row.name,
        machine_id=row.machine_id,
        priority=row.priority,
        flavour=row.flavour,
        proxy=Secret(row.proxy) if row.proxy else None,
    )


class _OpenRow(_Row, frozen=True, kw_only=True, omit_defaults=True):
    credentials: Any


def _checked(credentials: Credentials, *, trusted: bool, extra_hosts: tuple[str, ...]) -> Credentials:
    """Regions and hosts become parts of addresses, so they are looked at whoever wrote them."""
    match credentials:
        case IdcCredentials(auth_region=region) | BuilderIdCredentials(auth_region=region) if not is_region(region):
            raise RecordRefused("R_BAD_REGION")
        case ExternalIdpCredentials():
            if credentials.confirmed and not trusted:
                credentials = msgspec.structs.replace(credentials, confirmed=False)
            if not credentials.confirmed and not endpoint_allowed(credentials.token_endpoint, extra_hosts):
                raise RecordRefused("R_ENDPOINT_NOT_ALLOWED")
        case _:
            pass
    arn = getattr(credentials, "profile_arn", None)
    if arn is not None and arn_region(arn) is None:
        return msgspec.structs.replace(credentials, profile_arn=None)
    return credentials


def _own(accounts: Sequence[ImportedAccount], now: datetime) -> bytes:
    rows = [
        _Row(
            name=one.name,
            credentials=msgspec.Raw(to_record(one.credentials)),
            provider=one.provider,
            email=one.email,
            user_id=one.user_id,
            start_url=one.start_url,
            auth_region=one.auth_region,
            api_region=one.api_region,
            machine_id=one.machine_id,
            priority=one.priority,
            enabled=one.enabled,
            flavour=one.flavour,
            proxy=one.proxy.reveal() if one.proxy is not None else None,
        )
        for one in accounts
    ]
    return msgspec.json.encode(_Document(OWN_FORMAT, _VERSION, now, rows))


def _kiro_rs(accounts: Sequence[ImportedAccount], _now: datetime) -> bytes:
    return msgspec.json.encode([_kiro_rs_row(number, one) for number, one in enumerate(accounts, 1)])


def _kiro_rs_row(number: int, one: ImportedAccount) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": number,
        "priority": one.priority or 0,
        "email": one.email,
        "name": one.name,
        "userId": one.user_id,
        "provider": one.provider,
        **_secrets(one.credentials),
        "expiresAt": _iso(one.credentials),
        "authRegion": one.auth_region,
        "apiRegion": one.api_region,
        "machineId": one.machine_id,
        "endpoint": one.flavour,
        "startUrl": one.start_url,
        "proxyUrl": one.proxy.reveal() if one.proxy is not None else None,
        "disabled": None if one.enabled else True,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _account_manager(accounts: Sequence[ImportedAccount], now: datetime) -> bytes:
    document: dict[str, Any] = {
        "version": "1.8.3",
        "exportedAt": round(now.timestamp() * 1000),
        "accounts": [_account_manager_row(number, one) for number, one in enumerate(accounts, 1)],
        "groups": [],
        "tags": [],
    }
    return msgspec.json.encode(document)


def _account_manager_row(number: int, one: ImportedAccount) -> dict[str, Any]:
    credentials = one.credentials
    expires_at = getattr(credentials, "expires_at", None)
    inner: dict[str, Any] = {
        "csrfToken": "",
        **_secrets(credentials),
        "authMethod": _METHODS[type(credentials)],
        "provider": one.provider,
        "region": one.auth_region,
        "startUrl": one.start_url,
        "expiresAt": round(expires_at.timestamp() * 1000) if expires_at is not None else 0,
    }
    fields: dict[str, Any] = {
        "id": str(number),
        "email": one.email,
        "nickname": one.name,
        "idp": one.provider,
        "userId": one.user_id,
        "machineId": one.machine_id,
        "profileArn": inner.pop("profileArn", None),
        "apiRegion": one.api_region,
        "priority": one.priority,
        "status": "active" if one.enabled else "unknown",
        "enabled": one.enabled,
        "proxyUrl": one.proxy.reveal() if one.proxy is not None else None,
        "credentials": {name: value for name, value in inner.items() if value is not None},
    }
    return {name: value for name, value in fields.items() if value is not None}


_METHODS: Final[dict[type, str]] = {
    SocialCredentials: "social",
    BuilderIdCredentials: "IdC",
    IdcCredentials: "IdC",
    ExternalIdpCredentials: "external_idp",
    ApiKeyCredentials: "api_key",
}


def _secrets(credentials: Credentials) -> dict[str, Any]:
    """The fields that prove a sign-in, in the camelCase that both foreign formats share."""
    match credentials:
        case ApiKeyCredentials():
            return {"kiroApiKey": credentials.api_key.reveal(), "authMethod": "api_key"}
        case BuilderIdCredentials() | IdcCredentials():
            client = credentials.client
            own: dict[str, Any] = {
                "authMethod": "builder-id" if isinstance(credentials, BuilderIdCredentials) else "idc",
                "clientId": client.id if client is not None else None,
                "clientSecret": client.secret.reveal() if client is not None else None,
                "clientSecretExpiresAt": client.expires_at if client is not None else None,
                "profileArn": getattr(credentials, "profile_arn", None),
                "scopes": " ".join(credentials.scopes) or None,
            }
        case ExternalIdpCredentials():
            own = {
                "authMethod": "external_idp",
                "clientId": credentials.client_id,
                "tokenEndpoint": credentials.token_endpoint,
                "issuerUrl": credentials.issuer_url,
                "scopes": credentials.scopes,
                "profileArn": credentials.profile_arn,
            }
        case SocialCredentials():
            own = {"authMethod": "social", "profileArn": credentials.profile_arn}
        case _:
            assert_never(credentials)
    access = credentials.access_token.reveal() if credentials.access_token is not None else None
    return {**own, "accessToken": access, "refreshToken": credentials.refresh_token.reveal()}


def _iso(credentials: Credentials) -> datetime | None:
    return None if isinstance(credentials, ApiKeyCredentials) else credentials.expires_at


_WRITERS: Final[dict[ExportFormat, Callable[[Sequence[ImportedAccount], datetime], bytes]]] = {
    "kiro": _own,
    "kiro-rs": _kiro_rs,
    "account-manager": _account_manager,
}
