"""Where the browsers that people name are on each system, and how each is told to open a private window. Pure."""

import ntpath
import posixpath
from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

System = Literal["linux", "darwin", "win32"]
Exists = Callable[[str], bool]
Registered = Callable[[str], str | None]


class Known(msgspec.Struct, frozen=True):
    """A browser. `commands` are its programs on Linux, `bundle` its application on macOS with the program in it,
    `folders` where it is on Windows below the folders of programs. `private` opens a private window; `None`: nothing does.
    """

    commands: tuple[str, ...] = ()
    bundle: tuple[str, str] | None = None
    folders: tuple[str, ...] = ()
    private: str | None = "--incognito"


class Found(msgspec.Struct, frozen=True):
    """A browser that is here: the words to start it with; the address comes behind them."""

    name: str
    program: str
    private: str | None

    def command(self, *, private: bool) -> list[str]:
        return [self.program, *([self.private] if private and self.private else [])]


KNOWN: Final[dict[str, Known]] = {
    "firefox": Known(
        ("firefox", "firefox-esr", "org.mozilla.firefox"),
        ("Firefox", "firefox"),
        (r"Mozilla Firefox\firefox.exe",),
        "--private-window",
    ),
    "chrome": Known(
        ("google-chrome", "google-chrome-stable", "chrome", "com.google.Chrome"),
        ("Google Chrome", "Google Chrome"),
        (r"Google\Chrome\Application\chrome.exe",),
    ),
    "chromium": Known(
        ("chromium", "chromium-browser", "org.chromium.Chromium"),
        ("Chromium", "Chromium"),
        (r"Chromium\Application\chrome.exe",),
    ),
    "edge": Known(
        ("microsoft-edge", "microsoft-edge-stable", "com.microsoft.Edge"),
        ("Microsoft Edge", "Microsoft Edge"),
        (r"Microsoft\Edge\Application\msedge.exe",),
        "--inprivate",
    ),
    "brave": Known(
        ("brave-browser", "brave", "brave-browser-stable", "com.brave.Browser"),
        ("Brave Browser", "Brave Browser"),
        (r"BraveSoftware\Brave-Browser\Application\brave.exe",),
    ),
    "vivaldi": Known(
        ("vivaldi", "vivaldi-stable", "com.vivaldi.Vivaldi"),
        ("Vivaldi", "Vivaldi"),
        (r"Vivaldi\Application\vivaldi.exe",),
    ),
    "opera": Known(
        ("opera", "opera-stable", "com.opera.Opera"),
        ("Opera", "Opera"),
        (r"Programs\Opera\opera.exe", r"Opera\opera.exe"),
        "--private",
    ),
    "safari": Known(bundle=("Safari", "Safari"), private=None),
}
"""In the order in which one is taken when the person names none."""

_WINDOWS_FOLDERS: Final = ("ProgramFiles", "ProgramFiles(x86)", "ProgramW6432", "LOCALAPPDATA")
_FLATPAKS: Final = "/var/lib/flatpak/exports/bin"
_SYNONYMS: Final = {"google-chrome": "chrome", "msedge": "edge", "microsoft-edge": "edge", "mozilla": "firefox"}


def find(
    name: str, system: System, env: Mapping[str, str], exists: Exists, registered: Registered = lambda _: None
) -> Found | None:
    """The browser of that name; `None` when it is not here, or the name is none of KNOWN.

    `registered` is what the Windows registry has under `App Paths` for a program.
    """
    word = name.strip().lower()
    word = _SYNONYMS.get(word, word)
    known = KNOWN.get(word)
    if known is None:
        return None
    match system:
        case "win32":
            candidates = _on_windows(known, env, registered)
        case "darwin":
            candidates = _on_mac(known, env)
        case _:
            candidates = _on_linux(known, env)
    program = next((path for path in candidates if exists(path)), None)
    return None if program is None else Found(word, program, known.private)


def all_here(
    system: System, env: Mapping[str, str], exists: Exists, registered: Registered = lambda _: None
) -> list[Found]:
    """Every known browser that is here."""
    found = (find(name, system, env, exists, registered) for name in KNOWN)
    return [one for one in found if one is not None]


def _on_linux(known: Known, env: Mapping[str, str]) -> list[str]:
    folders = [folder for folder in env.get("PATH", "").split(":") if folder.startswith("/")]
    return [posixpath.join(folder, command) for command in known.commands for folder in (*folders, _FLATPAKS)]


def _on_mac(known: Known, env: Mapping[str, str]) -> list[str]:
    """Applications of everybody, then of the person; a program in PATH (Homebrew) last."""
    if known.bundle is None:
        return []
    bundle, program = known.bundle
    roots = ["/Applications", *([posixpath.join(env["HOME"], "Applications")] if env.get("HOME") else [])]
    paths = [f"{root}/{bundle}.app/Contents/MacOS/{program}" for root in roots]
    return [*paths, *_on_linux(known, env)]


def _on_windows(known: Known, env: Mapping[str, str], registered: Registered) -> list[str]:
    """What the registry says, then the usual folders, then PATH. Names of variables are matched without case."""
    if not known.folders:
        return []
    by_name = {name.upper(): value for name, value in env.items()}
    program = ntpath.basename(known.folders[0])
    told = registered(program)
    right = told is not None and any(told.lower().endswith(folder.lower()) for folder in known.folders)
    roots = [by_name[name.upper()] for name in _WINDOWS_FOLDERS if by_name.get(name.upper())]
    paths = [ntpath.join(root, folder) for folder in known.folders for root in roots]
    if program == "chrome.exe" and known is KNOWN["chromium"]:  # Google's has the same name
        return [*([told] if told and right else []), *paths]
    folders = [folder for folder in by_name.get("PATH", "").split(";") if folder]
    return [*([told] if told else []), *paths, *(ntpath.join(folder, program) for folder in folders)]
