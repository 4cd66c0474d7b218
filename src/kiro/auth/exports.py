"""Writes sign-ins in forms that other computers and programs read: our own, and those of `foreign`.

Our own keeps everything. The others keep what their programs know; `losses` tells what stays behind. Each of
them comes back through `formats.read_import`. All of them hold the secrets in the open; `sealed` closes them.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from kiro.auth import foreign
from kiro.auth.company_hosts import host_of
from kiro.auth.credentials import (
    BuilderIdCredentials,
    Credentials,
    ExternalIdpCredentials,
    IdcCredentials,
    Kind,
    arn_region,
    expiry,
    from_record,
    is_region,
    profile_arn,
    to_record,
)
from kiro.auth.fields import RecordRefused, is_proxy
from kiro.auth.records import Flavour, ImportedAccount
from kiro.auth.refresh import endpoint_allowed
from kiro.auth.steps import SignInFailed
from kiro.errors import StorageError
from kiro.redaction import Secret

OWN_FORMAT: Final = "kiro-accounts"
_VERSION: Final = 1
ExportFormat: TypeAlias = Literal["kiro", "kiro-rs", "account-manager", "kiro-go", "kiro-gateway", "cliproxyapi"]
Thing: TypeAlias = Literal[
    "name", "user id", "API region", "machine id", "priority", "switch", "flavour", "runtime", "proxy", "trust"
]
_THINGS: Final[dict[Thing, tuple[str, Callable[[ImportedAccount], bool]]]] = {
    "name": ("the name", lambda one: one.name is not None),
    "user id": ("the user id", lambda one: one.user_id is not None),
    "API region": (
        "the region where Kiro answers",
        lambda one: one.api_region not in (None, "us-east-1", arn_region(profile_arn(one.credentials))),
    ),
    "machine id": ("the machine id", lambda one: one.machine_id is not None),
    "priority": ("the priority", lambda one: bool(one.priority)),
    "switch": ("that it is disabled", lambda one: not one.enabled),
    "flavour": ("the API flavour", lambda one: one.flavour not in (None, "ide")),
    "runtime": ("the API flavour", lambda one: one.flavour == "runtime"),
    "proxy": ("the proxy", lambda one: one.proxy is not None),
    "trust": (
        "that you agreed to its company's token service",
        lambda one: isinstance(one.credentials, ExternalIdpCredentials) and one.credentials.confirmed,
    ),
}
"""What an account may have beside its sign-in, in words, and whether it has it."""


class _Format(msgspec.Struct, frozen=True):
    """How a format is written, which kinds of sign-in its programs know, and what it has no place for."""

    write: Callable[[Sequence[ImportedAccount], datetime], bytes]
    kinds: frozenset[Kind]
    lacks: frozenset[Thing] = frozenset()
    single: bool = False


class _Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An account in our own format. `credentials` is the record of the vault."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{12}$")] | None = None
    name: str | None = None
    credentials: msgspec.Raw
    provider: str | None = None
    email: str | None = None
    user_id: str | None = None
    start_url: str | None = None
    auth_region: str | None = None
    api_region: str | None = None
    machine_id: str | None = None
    priority: Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)] | None = None
    enabled: bool = True
    flavour: Flavour | None = None
    proxy: str | None = None


class _Document(msgspec.Struct, frozen=True):
    format: str
    version: int
    created_at: datetime
    accounts: list[_Row]


def write(accounts: Sequence[ImportedAccount], form: ExportFormat, now: datetime) -> bytes:
    """The accounts in a format, with their secrets in the open."""
    return msgspec.json.format(FORMATS[form].write(accounts, now), indent=2) + b"\n"


def losses(one: ImportedAccount, form: ExportFormat, *, plain: bool) -> tuple[str, ...]:
    """What the format cannot carry of this account, in words. `plain`: no passphrase vouches for the content."""
    lacks = FORMATS[form].lacks | ({"trust"} if plain else set())
    return tuple(words for thing, (words, has) in _THINGS.items() if thing in lacks and has(one))


def read_own(item: object, index: int, *, trusted: bool, extra_hosts: tuple[str, ...]) -> ImportedAccount:
    """An account of our own format. Raises RecordRefused.

    `trusted`: the file was sealed by the person's passphrase, so what they agreed to is believed; a file in
    the open cannot send a refresh token to a host of its choice.
    """
    try:
        row = msgspec.json.decode(msgspec.json.encode(item), type=_Row)
        credentials = from_record(bytes(row.credentials))
    except (msgspec.ValidationError, StorageError, UnicodeEncodeError) as error:
        raise RecordRefused("R_NOT_AN_OBJECT" if not isinstance(item, dict) else "R_UNREADABLE") from error
    credentials = _checked(credentials, trusted=trusted, extra_hosts=extra_hosts)
    if row.api_region is not None and not is_region(row.api_region):
        raise RecordRefused("R_BAD_REGION")
    if row.proxy and not is_proxy(row.proxy):
        raise RecordRefused("R_UNREADABLE")
    return ImportedAccount(
        index=index,
        id=row.id,
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


def _checked(credentials: Credentials, *, trusted: bool, extra_hosts: tuple[str, ...]) -> Credentials:
    """Regions and hosts become parts of addresses, so they are looked at whoever wrote them."""
    match credentials:
        case IdcCredentials(auth_region=region) | BuilderIdCredentials(auth_region=region) if not is_region(region):
            raise RecordRefused("R_BAD_REGION")
        case ExternalIdpCredentials():
            if credentials.confirmed and not trusted:
                credentials = msgspec.structs.replace(credentials, confirmed=False)
            if not _may_be_sent_to(credentials, extra_hosts):
                raise RecordRefused("R_ENDPOINT_NOT_ALLOWED")
        case _:
            pass
    ends = expiry(credentials)
    if ends is not None and ends.tzinfo is None:
        raise RecordRefused("R_UNREADABLE")
    arn = getattr(credentials, "profile_arn", None)
    if arn is not None and arn_region(arn) is None:
        return msgspec.structs.replace(credentials, profile_arn=None)
    return credentials


def _may_be_sent_to(credentials: ExternalIdpCredentials, extra_hosts: tuple[str, ...]) -> bool:
    """Whether a refresh token may go to its endpoint; a person can agree to a host, not to any address."""
    if not credentials.confirmed:
        return endpoint_allowed(credentials.token_endpoint, extra_hosts)
    try:
        host_of(credentials.token_endpoint)
    except SignInFailed:
        return False
    return True


def _own(accounts: Sequence[ImportedAccount], now: datetime) -> bytes:
    rows = [
        _Row(
            id=one.id,
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


_ALL_KINDS: Final[frozenset[Kind]] = frozenset({"social", "builder_id", "idc", "external_idp", "api_key"})
_LONE: Final[frozenset[Thing]] = frozenset(
    {"name", "user id", "API region", "machine id", "priority", "switch", "flavour", "proxy"}
)
FORMATS: Final[dict[ExportFormat, _Format]] = {
    "kiro": _Format(_own, _ALL_KINDS),
    "kiro-rs": _Format(foreign.kiro_rs, _ALL_KINDS, frozenset({"runtime"})),
    "account-manager": _Format(foreign.account_manager, _ALL_KINDS),
    "kiro-go": _Format(
        foreign.kiro_go,
        frozenset({"social", "builder_id", "idc"}),
        frozenset({"API region", "priority", "flavour"}),
    ),
    "kiro-gateway": _Format(foreign.kiro_gateway, frozenset({"social"}), _LONE - {"API region"}),
    "cliproxyapi": _Format(foreign.cliproxyapi, frozenset({"social", "builder_id", "idc"}), _LONE, single=True),
}
