"""Account files as other programs write them, one function per format; `exports.FORMATS` tells what each can carry.

Fields that a program does not know are ignored there, so what `formats.read_import` understands may be added
where a format has no word of its own.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, assert_never

import msgspec

from kiro.auth.credentials import (
    BUILDER_ID_START_URL,
    ApiKeyCredentials,
    BuilderIdCredentials,
    Credentials,
    ExternalIdpCredentials,
    IdcCredentials,
    SocialCredentials,
    expiry,
    long_lived,
    profile_arn,
)
from kiro.auth.records import ImportedAccount


def kiro_rs(accounts: Sequence[ImportedAccount], _now: datetime) -> bytes:
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
        "expiresAt": expiry(one.credentials),
        "authRegion": one.auth_region,
        "apiRegion": one.api_region,
        "machineId": one.machine_id,
        "endpoint": None if one.flavour == "runtime" else one.flavour,
        "startUrl": one.start_url,
        "proxyUrl": _proxy(one),
        "disabled": None if one.enabled else True,
    }
    return _told(fields)


def account_manager(accounts: Sequence[ImportedAccount], now: datetime) -> bytes:
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
    ends = expiry(credentials)
    provider, start_url = _provider_and_start_url(one)
    inner: dict[str, Any] = {
        "csrfToken": "",
        **_secrets(credentials),
        "authMethod": _METHODS[type(credentials)],
        "provider": provider,
        "region": one.auth_region,
        "startUrl": start_url,
        "expiresAt": round(ends.timestamp() * 1000) if ends is not None else 0,
    }
    fields: dict[str, Any] = {
        "id": str(number),
        "email": one.email,
        "nickname": one.name,
        "idp": provider,
        "userId": one.user_id,
        "machineId": one.machine_id,
        "profileArn": inner.pop("profileArn", None),
        "apiRegion": one.api_region,
        "priority": one.priority,
        "status": "active" if one.enabled else "unknown",
        "enabled": one.enabled,
        "endpoint": one.flavour,
        "proxyUrl": _proxy(one),
        "credentials": _told(inner),
    }
    return _told(fields)


def kiro_go(accounts: Sequence[ImportedAccount], _now: datetime) -> bytes:
    return msgspec.json.encode([_kiro_go_row(number, one) for number, one in enumerate(accounts, 1)])


def _kiro_go_row(number: int, one: ImportedAccount) -> dict[str, Any]:
    ends = expiry(one.credentials)
    provider, start_url = _provider_and_start_url(one)
    fields: dict[str, Any] = {
        "id": str(number),
        "email": one.email,
        "userId": one.user_id,
        "nickname": one.name,
        **_secrets(one.credentials),
        "provider": provider,
        "region": one.auth_region,
        "startUrl": start_url,
        "expiresAt": int(ends.timestamp()) if ends is not None else 0,
        "machineId": one.machine_id,
        "proxyURL": _proxy(one),
        "weight": 1,
        "enabled": one.enabled,
        "banStatus": "ACTIVE",
    }
    return _told(fields)


def kiro_gateway(accounts: Sequence[ImportedAccount], _now: datetime) -> bytes:
    rows = [
        {
            "type": "refresh_token",
            "refresh_token": long_lived(one.credentials).reveal(),
            "profile_arn": profile_arn(one.credentials),
            "region": one.auth_region,
            "api_region": one.api_region,
        }
        for one in accounts
    ]
    return msgspec.json.encode([_told(row) for row in rows])


def cliproxyapi(accounts: Sequence[ImportedAccount], now: datetime) -> bytes:
    """An object for one account: that program keeps each in a file of its own."""
    (one,) = accounts
    secrets = _secrets(one.credentials)
    provider, start_url = _provider_and_start_url(one)
    fields: dict[str, Any] = {
        "type": "kiro",
        "access_token": secrets.get("accessToken"),
        "refresh_token": secrets.get("refreshToken"),
        "profile_arn": secrets.get("profileArn"),
        "expires_at": expiry(one.credentials),
        "auth_method": secrets["authMethod"],
        "provider": "AWS" if provider in (None, "BuilderId") else provider,
        "last_refresh": now,
        "client_id": secrets.get("clientId"),
        "client_secret": secrets.get("clientSecret"),
        "region": one.auth_region,
        "start_url": start_url,
        "email": one.email,
    }
    return msgspec.json.encode(_told(fields))


def _provider_and_start_url(one: ImportedAccount) -> tuple[str | None, str | None]:
    """Where a format calls Builder ID and Identity Center by one word, these two tell them apart."""
    if isinstance(one.credentials, BuilderIdCredentials):
        return one.provider or "BuilderId", one.start_url or BUILDER_ID_START_URL
    return one.provider, one.start_url


def _proxy(one: ImportedAccount) -> str | None:
    return one.proxy.reveal() if one.proxy is not None else None


def _told(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


_METHODS: Final[dict[type, str]] = {
    SocialCredentials: "social",
    BuilderIdCredentials: "IdC",
    IdcCredentials: "IdC",
    ExternalIdpCredentials: "external_idp",
    ApiKeyCredentials: "api_key",
}


def _secrets(credentials: Credentials) -> dict[str, Any]:
    """The fields that prove a sign-in, in the camelCase that most formats share."""
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
