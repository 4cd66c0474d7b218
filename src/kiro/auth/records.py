"""One tolerant reader for one account record, whoever wrote it and however the fields are spelled.

The checks run in a fixed order and the
first that fails refuses the record with its code; other records go on. Codes are explained in
`auth.codes`.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec

from kiro.auth.credentials import (
    BUILDER_ID_START_URL,
    ApiKeyCredentials,
    BuilderIdCredentials,
    Credentials,
    ExternalIdpCredentials,
    IdcCredentials,
    OidcClient,
    SocialCredentials,
    arn_region,
    clean_start_url,
    is_placeholder_arn,
)
from kiro.auth.fields import (
    EXPIRY_NAMES,
    REGISTRATION_EXPIRY_NAMES,
    Fields,
    RecordRefused,
    is_priority,
    machine_id,
    proxy_of,
    read_time,
)
from kiro.auth.method import BUILDER_METHODS, Family, family_of, oidc_region, provider_of
from kiro.auth.refresh import endpoint_allowed
from kiro.redaction import Secret

Flavour: TypeAlias = Literal["ide", "cli", "runtime"]
"""Which of Kiro's programs an account speaks like."""

_FLAVOURS: Final[dict[str, Flavour]] = {"ide": "ide", "cli": "cli", "runtime": "runtime"}
API_REGIONS: Final = frozenset({"us-east-1", "eu-central-1", "us-gov-east-1", "us-gov-west-1"})
_HASH: Final = re.compile(r"[0-9a-f]{40}")
_SHORT_TOKEN_CHARACTERS: Final = 100


class ImportedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account read from somewhere. `index` is its position in the input; `api_region` is set when it is known.

    `id` is the one it has in kiro, told by kiro's own files only.
    """

    index: int
    credentials: Credentials
    id: str | None = None
    auth_region: str | None = None
    api_region: str | None = None
    enabled: bool = True
    provider: str | None = None
    email: str | None = None
    user_id: str | None = None
    start_url: str | None = None
    name: str | None = None
    machine_id: str | None = None
    priority: int | None = None
    flavour: Flavour | None = None
    proxy: Secret | None = None


class Reading(msgspec.Struct, frozen=True):
    """What the records of one input have in common.

    `fixed` is the family when the place itself tells it (a database row, an AWS cache file);
    `quiet` formats always tell the method by their form. `siblings` gives files beside the input.
    """

    now: datetime
    siblings: Callable[[str], bytes | None]
    fixed: Family | None = None
    quiet: bool = False
    builder_without_start_url: bool = False
    extra_hosts: tuple[str, ...] = ()
    trusted: bool = False


def read_record(item: object, index: int, how: Reading) -> tuple[ImportedAccount, frozenset[str]]:
    """One account and the warnings about it. Raises RecordRefused; `registration_warnings` survive a refusal."""
    if not isinstance(item, dict):
        raise RecordRefused("R_NOT_AN_OBJECT")
    fields = Fields(item)
    family = family_of(fields, how.fixed, quiet=how.quiet)
    if (fields.text("status") or "").lower() == "error":
        raise RecordRefused("R_STATUS_ERROR")
    regions = {name: fields.region(name) for name in ("auth_region", "region", "api_region")}
    match family:
        case "api_key":
            credentials: Credentials = _api_key(fields)
        case "external_idp":
            credentials = _external(fields, how)
        case "social":
            credentials = _social(fields, how)
        case "oidc":
            credentials = _oidc(fields, how, regions)
    return _account(fields, credentials, index, regions), frozenset(fields.warnings)


def registration_warnings(item: object, how: Reading) -> frozenset[str]:
    """What is wrong with the client registration a record points to; worth telling even when the record is refused."""
    if not isinstance(item, dict):
        return frozenset()
    fields = Fields(item)
    try:
        _client(fields, how)
    except RecordRefused:
        return frozenset()
    return frozenset(fields.warnings & {"W_REGISTRATION_EXPIRED", "W_REGISTRATION_MISSING"})


def _api_key(fields: Fields) -> ApiKeyCredentials:
    candidates = (fields.text("api_key"), fields.text("access"), fields.text("refresh"))
    key = next((text for text in candidates if text and (text.startswith("ksk_") or text is candidates[0])), None)
    if key is None:
        raise RecordRefused("R_API_KEY_MISSING")
    return ApiKeyCredentials(api_key=Secret(key))


def _refresh_token(fields: Fields, *, warn_short: bool) -> Secret:
    token = fields.text("refresh")
    if token is None:
        raise RecordRefused("R_NO_REFRESH_TOKEN")
    if "..." in token or "…" in token:
        raise RecordRefused("R_TRUNCATED_REFRESH_TOKEN")
    if warn_short and len(token) < _SHORT_TOKEN_CHARACTERS:
        fields.warnings.add("W_SHORT_REFRESH_TOKEN")
    return Secret(token)


def _access(fields: Fields, how: Reading) -> tuple[Secret | None, datetime | None]:
    """The access token and when it ends; without a token the time means nothing."""
    token = fields.text("access")
    if token is None:
        return None, None
    expires_at = read_time(fields.first(EXPIRY_NAMES))
    if expires_at is None:
        fields.warnings.add("W_EXPIRY_UNKNOWN")
    elif expires_at <= how.now:
        fields.warnings.add("W_EXPIRED")
    return Secret(token), expires_at


def _arn(fields: Fields) -> str | None:
    arn = fields.text("arn")
    if arn is None:
        return None
    if arn_region(arn) is None:
        fields.warnings.add("W_BAD_ARN")
        return None
    if is_placeholder_arn(arn):
        fields.warnings.add("W_PLACEHOLDER_ARN")
        return None
    return arn


def _social(fields: Fields, how: Reading) -> SocialCredentials:
    refresh = _refresh_token(fields, warn_short=True)
    access, expires_at = _access(fields, how)
    arn = _arn(fields)
    if arn is None:
        fields.warnings.add("W_PROFILE_ARN_MISSING")
    return SocialCredentials(
        access_token=access,
        refresh_token=refresh,
        expires_at=expires_at,
        profile_arn=arn,
        provider=provider_of(fields),
    )


def _external(fields: Fields, how: Reading) -> ExternalIdpCredentials:
    refresh = _refresh_token(fields, warn_short=False)
    endpoint, client_id = fields.text("token_endpoint"), fields.text("client_id")
    if endpoint is None or client_id is None:
        raise RecordRefused("R_EXTERNAL_IDP_INCOMPLETE")
    if not endpoint_allowed(endpoint, how.extra_hosts):
        raise RecordRefused("R_ENDPOINT_NOT_ALLOWED")
    if fields.text("client_secret"):
        fields.warnings.add("W_CLIENT_SECRET_DROPPED")
    access, expires_at = _access(fields, how)
    return ExternalIdpCredentials(
        access_token=access,
        refresh_token=refresh,
        expires_at=expires_at,
        client_id=client_id,
        token_endpoint=endpoint,
        issuer_url=fields.text("issuer"),
        scopes=fields.text("scopes"),
        profile_arn=_arn(fields),
    )


def _oidc(fields: Fields, how: Reading, regions: dict[str, str | None]) -> BuilderIdCredentials | IdcCredentials:
    refresh = _refresh_token(fields, warn_short=True)
    client = _client(fields, how)
    access, expires_at = _access(fields, how)
    if client is None:
        if access is None or expires_at is None or expires_at <= how.now:
            raise RecordRefused("R_NO_CLIENT_CREDENTIALS")
        fields.warnings.add("W_NOT_REFRESHABLE")
    arn = _arn(fields)
    scopes = tuple((fields.text("scopes") or "").split())
    if _is_builder_id(fields, how):
        return BuilderIdCredentials(
            access_token=access, refresh_token=refresh, expires_at=expires_at, client=client, scopes=scopes
        )
    start_url = fields.text("start_url")
    if start_url is None and provider_of(fields) is None:
        fields.warnings.add("W_FLAVOR_UNKNOWN")
    region = regions["auth_region"] or regions["region"] or oidc_region(fields.text("token_endpoint") or "")
    if region is None:
        fields.warnings.add("W_REGION_DEFAULTED")
    return IdcCredentials(
        access_token=access,
        refresh_token=refresh,
        expires_at=expires_at,
        client=client,
        auth_region=region or "us-east-1",
        start_url=clean_start_url(start_url) if start_url else None,
        profile_arn=arn or _sibling_profile(fields, how),
        scopes=scopes,
    )


def _is_builder_id(fields: Fields, how: Reading) -> bool:
    start_url = fields.text("start_url")
    if (fields.text("provider") or "").lower() == "builderid":
        return True
    if start_url is not None:
        return clean_start_url(start_url) == BUILDER_ID_START_URL
    return how.builder_without_start_url or (fields.text("method") or "").lower() in BUILDER_METHODS


def _client(fields: Fields, how: Reading) -> OidcClient | None:
    """The client registration: written in the record, or in the file that the record's hash names."""
    hashed = fields.text("client_hash")
    if hashed is not None and not _HASH.fullmatch(hashed):
        raise RecordRefused("R_UNSAFE_HASH")
    client_id, secret = fields.text("client_id"), fields.text("client_secret")
    expires_at = read_time(fields.first(REGISTRATION_EXPIRY_NAMES))
    if (client_id is None) != (secret is None):
        raise RecordRefused("R_CLIENT_PAIR_INCOMPLETE")
    if client_id is None and hashed is not None:
        found = _registration(how.siblings(f"{hashed}.json"))
        if found is None:
            fields.warnings.add("W_REGISTRATION_MISSING")
            return None
        client_id, secret, expires_at = found
    if client_id is None or secret is None:
        return None
    if expires_at is not None and expires_at <= how.now:
        fields.warnings.add("W_REGISTRATION_EXPIRED")
        return None
    return OidcClient(id=client_id, secret=Secret(secret), expires_at=expires_at)


def _registration(data: bytes | None) -> tuple[str, str, datetime | None] | None:
    document = _object(data)
    client_id, secret = document.get("clientId"), document.get("clientSecret")
    if not isinstance(client_id, str) or not isinstance(secret, str) or not client_id or not secret:
        return None
    return client_id, secret, read_time(document.get("expiresAt"))


def _sibling_profile(fields: Fields, how: Reading) -> str | None:
    """The IDE writes the chosen profile in a file of its own; it counts only for the IDE's own token file."""
    if fields.text("client_hash") is None:
        return None
    document = _object(how.siblings("profile.json"))
    arn, name = document.get("arn"), document.get("name")
    good = isinstance(arn, str) and isinstance(name, str) and name and arn_region(arn) and not is_placeholder_arn(arn)
    return arn if good else None


def _object(data: bytes | None) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(data) if data else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}
    return document if isinstance(document, dict) else {}


def _account(fields: Fields, credentials: Credentials, index: int, regions: dict[str, str | None]) -> ImportedAccount:
    builder = isinstance(credentials, BuilderIdCredentials)
    match credentials:
        case SocialCredentials():
            auth_region: str | None = "us-east-1"
        case BuilderIdCredentials() | IdcCredentials():
            auth_region = credentials.auth_region
        case _:
            auth_region = None
    priority = fields.raw.get("priority")
    start_url = credentials.start_url if isinstance(credentials, IdcCredentials) else None
    return ImportedAccount(
        index=index,
        credentials=credentials,
        auth_region=auth_region,
        api_region=_api_region(fields, credentials, regions),
        enabled=_enabled(fields.raw),
        provider=provider_of(fields) or ("BuilderId" if builder else None),
        email=fields.text("email"),
        user_id=fields.text("user_id"),
        start_url=BUILDER_ID_START_URL if builder else start_url,
        name=fields.text("name"),
        machine_id=machine_id(fields.text("machine_id")),
        priority=priority if is_priority(priority) else None,
        flavour=_FLAVOURS.get(fields.text("endpoint") or ""),
        proxy=proxy_of(fields),
    )


def _api_region(fields: Fields, credentials: Credentials, regions: dict[str, str | None]) -> str | None:
    """Explicit, else of a real ARN, else the constant of the kind. A sign-in region never becomes an API region."""
    explicit = regions["api_region"]
    if explicit is None and isinstance(credentials, ApiKeyCredentials):
        explicit = regions["region"]
    arn = None
    if not isinstance(credentials, ApiKeyCredentials | BuilderIdCredentials):
        arn = arn_region(credentials.profile_arn)
    for region in (explicit, arn):
        if region in API_REGIONS:
            return region
        if region is not None:
            fields.warnings.add("W_API_REGION_UNKNOWN")
    return "us-east-1" if isinstance(credentials, BuilderIdCredentials | SocialCredentials) else None


def _enabled(raw: dict[str, Any]) -> bool:
    return raw.get("enabled") not in (False, "false", 0) and raw.get("disabled") not in (True, "true", 1)
