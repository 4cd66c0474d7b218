"""Names of accounts: which are allowed, which one suits an account, which one is free. Pure."""

import re
from collections.abc import Callable
from typing import Final

from kiro.auth.credentials import kind_of
from kiro.auth.records import ImportedAccount
from kiro.errors import UsageError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str) -> None:
    """Raises UsageError when a text cannot be the name of an account."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of an account.",
            hint="1 to 64 letters, digits, dots, underscores and dashes; the first one a letter or digit.",
        )


def suggested_name(imported: ImportedAccount) -> str:
    """A name from what is known: the name or email it came with, else its provider or kind."""
    if imported.name and _NAME.fullmatch(imported.name):
        return imported.name
    kind = kind_of(imported.credentials)
    words = {"builder_id": "builder-id", "idc": "identity-center", "external_idp": "company", "api_key": "api-key"}
    candidates = (imported.name, (imported.email or "").partition("@")[0], imported.provider, words.get(kind))
    for text in candidates:
        clean = re.sub(r"[^A-Za-z0-9._-]+", "-", text or "").strip("._-")[:60]
        if clean:
            return clean.lower() if text == imported.provider else clean
    return "social"


def free_name(wanted: str, taken: Callable[[str], bool]) -> str:
    """The wanted name, or the first `name-2`, `name-3`, … that is free."""
    name, number = wanted, 1
    while taken(name):
        number += 1
        name = f"{wanted}-{number}"
    return name
