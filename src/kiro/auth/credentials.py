"""What proves that a person may use an account: one frozen class per kind of sign-in.

Secrets are of type `Secret`: they show themselves to nobody who does not ask. `to_record` and
`from_record` turn credentials into the bytes the vault keeps and back; nothing else may store them.
"""

import re
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec

from kiro.errors import StorageError
from kiro.redaction import Secret

Kind = Literal["social", "builder_id", "idc", "external_idp", "api_key"]

BUILDER_ID_ARN: Final = "arn:aws:codewhisperer:us-east-1:638616132270:profile/AAAACCCCXXXX"
"""Every Builder ID account has this profile; a constant of Kiro's clients, not data of an account."""

BUILDER_ID_START_URL: Final = "https://view.awsapps.com/start"
_ENTERPRISE_FALLBACK: Final = re.compile(r":610548660232:profile/VNECVYCYYAWN$")
_ARN: Final = re.compile(r"arn:aws(?:-us-gov)?:codewhisperer:([a-z0-9-]+):\d{12}:profile/[A-Za-z0-9]+")
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d{1,2}")


class SocialCredentials(msgspec.Struct, frozen=True, kw_only=True, tag="social"):
    """Google or GitHub. The refresh token changes with every refresh. `expires_at` is the access token's, aware."""

    access_token: Secret | None = None
    refresh_token: Secret
    expires_at: datetime | None = None
    profile_arn: str | None = None
    provider: str | None = None


class OidcClient(msgspec.Struct, frozen=True, kw_only=True):
    """The registration that belongs to one family of tokens; tokens cannot be refreshed with another one."""

    id: str
    secret: Secret
    expires_at: datetime | None = None


class BuilderIdCredentials(msgspec.Struct, frozen=True, kw_only=True, tag="builder_id"):
    """AWS Builder ID, always of us-east-1. Without `client` the access token lives until it expires, no longer."""

    access_token: Secret | None = None
    refresh_token: Secret
    expires_at: datetime | None = None
    client: OidcClient | None = None
    auth_region: str = "us-east-1"
    scopes: tuple[str, ...] = ()


class IdcCredentials(msgspec.Struct, frozen=True, kw_only=True, tag="idc"):
    """IAM Identity Center of a company; `auth_region` is where that lives, which is not where Kiro answers."""

    access_token: Secret | None = None
    refresh_token: Secret
    expires_at: datetime | None = None
    client: OidcClient | None = None
    auth_region: str
    start_url: str | None = None
    profile_arn: str | None = None
    scopes: tuple[str, ...] = ()


class ExternalIdpCredentials(msgspec.Struct, frozen=True, kw_only=True, tag="external_idp"):
    """A company's own identity provider (Microsoft Entra, …). A public client: there is no client secret.

    `confirmed` means that the person agreed to this token endpoint, or Kiro's own portal named it;
    otherwise only Microsoft's hosts and those of `auth.external_hosts` are asked.
    """

    access_token: Secret | None = None
    refresh_token: Secret
    expires_at: datetime | None = None
    client_id: str
    token_endpoint: str
    issuer_url: str | None = None
    scopes: str | None = None
    profile_arn: str | None = None
    confirmed: bool = False


class ApiKeyCredentials(msgspec.Struct, frozen=True, kw_only=True, tag="api_key"):
    """A key made in the Kiro web account. It is the bearer itself and is never refreshed."""

    api_key: Secret


OidcCredentials: TypeAlias = BuilderIdCredentials | IdcCredentials
TokenCredentials: TypeAlias = SocialCredentials | BuilderIdCredentials | IdcCredentials | ExternalIdpCredentials
Credentials: TypeAlias = TokenCredentials | ApiKeyCredentials


def to_record(credentials: Credentials) -> bytes:
    """The secrets in the open, for the vault only."""
    return msgspec.json.encode(credentials, enc_hook=_reveal)


def from_record(data: bytes) -> Credentials:
    """Read a record of the vault. Raises StorageError."""
    try:
        credentials: Credentials = msgspec.json.decode(data, type=Credentials, dec_hook=_hide)
    except msgspec.MsgspecError as error:
        raise StorageError("A stored sign-in has a form that this kiro does not know.", hint="Update kiro.") from error
    return credentials


def kind_of(credentials: Credentials) -> Kind:
    kind: Kind = credentials.__struct_config__.tag  # type: ignore[assignment]  # the tags above are the words of Kind
    return kind


def can_refresh(credentials: Credentials) -> bool:
    match credentials:
        case BuilderIdCredentials() | IdcCredentials():
            return credentials.client is not None
        case ApiKeyCredentials():
            return False
        case _:
            return True


def expiry(credentials: Credentials) -> datetime | None:
    return None if isinstance(credentials, ApiKeyCredentials) else credentials.expires_at


def profile_arn(credentials: Credentials) -> str | None:
    """The account's own profile; `None` for the kinds that have none of their own."""
    match credentials:
        case BuilderIdCredentials() | ApiKeyCredentials():
            return None
        case _:
            return credentials.profile_arn


def bearer(credentials: Credentials) -> Secret | None:
    """What goes behind `Authorization: Bearer`."""
    return credentials.api_key if isinstance(credentials, ApiKeyCredentials) else credentials.access_token


def long_lived(credentials: Credentials) -> Secret:
    """The refresh token or the key: what two copies of one sign-in have in common, until it rotates."""
    return credentials.api_key if isinstance(credentials, ApiKeyCredentials) else credentials.refresh_token


def arn_region(arn: str | None) -> str | None:
    """The region inside a well-formed profile ARN, `None` for anything else."""
    found = _ARN.fullmatch(arn or "")
    return found.group(1) if found else None


def is_placeholder_arn(arn: str) -> bool:
    """ARNs that clients write for everybody, which say nothing about the account."""
    return arn == BUILDER_ID_ARN or bool(_ENTERPRISE_FALLBACK.search(arn))


def is_region(text: str) -> bool:
    """A security check: a region becomes part of a host name."""
    return bool(_REGION.fullmatch(text))


def clean_start_url(url: str) -> str:
    """Without fragment and trailing slashes, scheme and host in lower case, so that spellings compare equal."""
    url = url.strip().partition("#")[0].rstrip("/")
    scheme, colon, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}{colon}{host.lower()}{slash}{path}"


def _reveal(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(type(value))


def _hide(kind: type, value: Any) -> Any:
    if kind is Secret:
        if isinstance(value, str):
            return Secret(value)
        raise ValueError("a secret is a text")
    raise NotImplementedError(kind)
