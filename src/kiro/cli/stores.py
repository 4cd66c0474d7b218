"""Where on this computer other programs keep their sign-ins."""

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kiro.errors import KiroError

if TYPE_CHECKING:
    from kiro.auth.discover import Candidate, System
    from kiro.home import Home

_NO_PERSONS = frozenset({"Public", "Default", "Default User", "All Users"})


def candidates_of(home: "Home") -> "tuple[Candidate, ...]":
    """Every place to look at. Raises KiroError when nobody knows the person's home folder."""
    from kiro.auth.discover import candidates

    systems: dict[str, System] = {"win32": "windows", "darwin": "macos"}
    return candidates(systems.get(sys.platform, "linux"), own_home(), home.env, _windows_homes())


def is_live(home: "Home", path: Path) -> bool:
    """Whether another program reads and refreshes the sign-in in this file, because it is where that program keeps it."""
    try:
        places = candidates_of(home)
    except KiroError:  # no home folder, so nothing is kept in it
        return False
    return any(not place.folder and place.path == path for place in places)


def own_home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise KiroError("Your home folder is not known, so there is nowhere to look.", hint="Set HOME.") from error


def _windows_homes() -> tuple[Path, ...]:
    """Under WSL the profiles of the Windows side that may be read."""
    release = platform.release().lower()
    if sys.platform != "linux" or not ("microsoft" in release or "wsl" in release):
        return ()
    users = (folder for drive in Path("/mnt").glob("?") for folder in (drive / "Users").glob("*"))
    return tuple(sorted(folder for folder in users if folder.name not in _NO_PERSONS and _is_folder(folder)))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # somebody else's profile
        return False
