"""Which kind of sign-in a record is, when several fields say something about it.

A key or a foreign token endpoint decides at once; then the place it was found; then the provider, which
outranks the method as in the Kiro IDE; then the method's many spellings; then a guess.
"""

import re
from typing import Final, Literal
from urllib.parse import urlsplit

from kiro.auth.credentials import is_region
from kiro.auth.fields import Fields, RecordRefused

Family = Literal["social", "oidc", "external_idp", "api_key"]
_METHODS: Final[dict[str, Family]] = {
    **dict.fromkeys(("api_key", "apikey", "api-key"), "api_key"),
    **dict.fromkeys(
        (
            "external_idp",
            "external-idp",
            "azuread",
            "azure",
            "entra",
            "entra-id",
            "microsoft",
            "m365",
            "office365",
            "external",
        ),
        "external_idp",
    ),
    **dict.fromkeys(("social", "google", "github"), "social"),
    **dict.fromkeys(("idc", "iam", "sso", "enterprise", "builder-id", "builderid", "builder_id"), "oidc"),
}
BUILDER_METHODS: Final = frozenset({"builder-id", "builderid", "builder_id"})
_PROVIDERS: Final[dict[str, tuple[str, Family]]] = {
    "google": ("Google", "social"),
    "github": ("Github", "social"),
    "builderid": ("BuilderId", "oidc"),
    "enterprise": ("Enterprise", "oidc"),
    "awsidc": ("AWSIdC", "oidc"),
    "iam_sso": ("IAM_SSO", "oidc"),
    "internal": ("Internal", "oidc"),
    "externalidp": ("ExternalIdp", "external_idp"),
}
_OIDC_HOST: Final = re.compile(r"oidc\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")


def family_of(fields: Fields, fixed: Family | None, *, quiet: bool) -> Family:
    """The family; `quiet` does not remark on a guess. Raises RecordRefused for a method that is not known."""
    method = (fields.text("method") or "").lower()
    alias = _METHODS.get(method)
    tokens = (fields.text("access") or "", fields.text("refresh") or "")
    if fields.text("api_key") or alias == "api_key" or any(token.startswith("ksk_") for token in tokens):
        return "api_key"
    endpoint = fields.text("token_endpoint")
    if alias == "external_idp" or (endpoint and not oidc_region(endpoint)):
        if alias is None and not quiet:
            fields.warnings.add("W_METHOD_INFERRED")
        return "external_idp"
    if fixed is not None:
        return fixed
    provider = _PROVIDERS.get((fields.text("provider") or "").lower())
    if provider is not None:
        if method and alias != provider[1]:
            fields.warnings.add("W_METHOD_PROVIDER_CONFLICT")
        return provider[1]
    if alias is not None:
        return alias
    if method:
        raise RecordRefused("R_UNKNOWN_AUTH_METHOD")
    if not quiet:
        fields.warnings.add("W_METHOD_INFERRED")
    return "oidc" if fields.text("client_id") or fields.text("client_hash") else "social"


def oidc_region(endpoint: str) -> str | None:
    try:
        found = _OIDC_HOST.fullmatch((urlsplit(endpoint).hostname or "").lower())
    except ValueError:
        return None
    return found.group(1) if found and is_region(found.group(1)) else None


def provider_of(fields: Fields) -> str | None:
    known = _PROVIDERS.get((fields.text("provider") or "").lower())
    return known[0] if known else None
