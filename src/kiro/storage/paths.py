"""Where everything lives on this computer; `KIRO_HOME` moves it all under one folder.

Without `KIRO_HOME` the platform's own folders are used (platformdirs): settings, data and state
apart from each other. Finding a path touches no disk; folders are made when something is written.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from kiro.storage.files import make_private_folder

_APP = "kiro-proxy"
"""Not `kiro`: that folder name belongs to the Kiro IDE and its command line."""


class Paths(msgspec.Struct, frozen=True):
    """Three folders, which may be the same one, and the files in them."""

    config_dir: Path
    data_dir: Path
    state_dir: Path

    @property
    def config_file(self) -> Path:
        return self.config_dir / "config.toml"

    @property
    def key_file(self) -> Path:
        """The vault's own key file, used when nothing better keeps the key.

        Apart from the vault, so that a copy of one folder does not carry both (unless KIRO_HOME joins them).
        """
        return self.config_dir / "vault.key"

    @property
    def vault_file(self) -> Path:
        return self.data_dir / "vault.json"

    @property
    def database_file(self) -> Path:
        return self.data_dir / "kiro.db"

    @property
    def backups_dir(self) -> Path:
        return self.data_dir / "backups"

    @property
    def log_file(self) -> Path:
        return self.state_dir / "kiro.log"

    @property
    def locks_dir(self) -> Path:
        return self.state_dir / "locks"

    def make_folders(self) -> None:
        """Create what is missing, for the owner only."""
        for folder in (self.config_dir, self.data_dir, self.state_dir, self.locks_dir):
            make_private_folder(folder)


def find_paths(env: Mapping[str, str]) -> Paths:
    """The folders for these environment variables."""
    home = env.get("KIRO_HOME")
    if home:
        folder = Path(home).expanduser().absolute()
        return Paths(folder, folder, folder)
    import platformdirs

    return Paths(
        config_dir=Path(platformdirs.user_config_dir(_APP, appauthor=False)),
        data_dir=Path(platformdirs.user_data_dir(_APP, appauthor=False)),
        state_dir=Path(platformdirs.user_state_dir(_APP, appauthor=False)),
    )
