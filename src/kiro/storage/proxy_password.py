"""The password of `upstream.proxy`: in the vault, while config.toml has the address without it."""

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from kiro.storage.vault import Vault

KEY: Final = "upstream.proxy"
_OWNER: Final = "settings"


def keep(vault: "Vault", address: str) -> str:
    """Store the password that is in the address; returns the address for the file. Without one nothing is stored."""
    if not urlsplit(address).password:
        return address
    vault.put(_OWNER, KEY, address.encode())
    return _without_password(address)


def whole(vault: "Vault", address: str | None) -> str | None:
    """The address with its password, where the vault has it. The vault is not opened where there is no user name."""
    if address is None:
        return None
    parts = urlsplit(address)
    if not parts.username or parts.password or not vault.exists:
        return address
    stored = vault.get(_OWNER, KEY)
    if stored is None or _without_password(stored.decode()) != address:
        return address
    return stored.decode()


def forget(vault: "Vault") -> None:
    vault.remove(_OWNER, KEY)


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    userinfo, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{userinfo.partition(':')[0]}@{host}").geturl()
