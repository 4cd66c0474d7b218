"""What lies on this computer: settings, database, vault, accounts, client keys.

Each part is opened when first used, so a command pays only for what it needs.
"""

import logging
import logging.handlers
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from kiro.storage.paths import Paths, find_paths
from kiro.storage.settings import Loaded, Settings, load

if TYPE_CHECKING:
    from kiro.accounts.directory import AccountDirectory
    from kiro.storage.client_keys import ClientKeys
    from kiro.storage.database import Database
    from kiro.storage.vault import Vault

_LOG_BYTES: Final = 5 * 1024 * 1024


class Home:
    """`env` are the variables it goes by, `flags` settings from the command line, by key."""

    def __init__(
        self,
        env: Mapping[str, str] | None = None,
        flags: Mapping[str, Any] | None = None,
        *,
        ask_passphrase: Callable[[bool], str | None] | None = None,
        use_keyring: bool = True,
    ) -> None:
        self.env = dict(os.environ if env is None else env)
        self.flags = dict(flags or {})
        self.paths: Paths = find_paths(self.env)
        self._ask_passphrase = ask_passphrase
        self._use_keyring = use_keyring

    @cached_property
    def loaded(self) -> Loaded:
        return load(self.paths, self.env, self.flags)

    def load_again(self) -> Loaded:
        """Settings as they are now, without changing what `loaded` says."""
        return load(self.paths, self.env, self.flags)

    @cached_property
    def database(self) -> "Database":
        from kiro.storage.database import Database

        self.paths.make_folders()
        return Database(self.paths.database_file)

    @cached_property
    def vault(self) -> "Vault":
        from kiro.storage.secrets import Surroundings
        from kiro.storage.vault import Vault

        self.paths.make_folders()
        around = Surroundings(
            self.paths.key_file, self.env, ask_passphrase=self._ask_passphrase, use_keyring=self._use_keyring
        )
        return Vault(self.paths.vault_file, around)

    def upstream_proxy(self, settings: Settings) -> str | None:
        """The proxy for all accounts, with its password. Blocks."""
        from kiro.storage import proxy_password

        return proxy_password.whole(self.vault, settings.upstream.proxy)

    @cached_property
    def accounts(self) -> "AccountDirectory":
        from kiro.accounts.directory import AccountDirectory

        return AccountDirectory(self.database, self.vault, self.paths.locks_dir)

    @cached_property
    def keys(self) -> "ClientKeys":
        from kiro.storage.client_keys import ClientKeys

        return ClientKeys(self.database, self.vault)

    def close(self) -> None:
        if "database" in self.__dict__:
            self.database.close()


def log_to_file(home: Home) -> None:
    """Sends the program's log, redacted, to the log file."""
    from kiro.redaction import RedactionFilter

    home.paths.make_folders()
    handler = logging.handlers.RotatingFileHandler(
        home.paths.log_file, maxBytes=_LOG_BYTES, backupCount=3, encoding="utf-8", delay=True
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    handler.addFilter(RedactionFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(home.loaded.settings.log.level.upper())
