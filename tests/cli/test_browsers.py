"""Where browsers are on each system, and what they are started with."""

import pytest

from kiro.cli.browsers import KNOWN, all_here, find

LINUX = {"PATH": "/usr/local/bin:/usr/bin::relative"}
MAC = {"PATH": "/opt/homebrew/bin", "HOME": "/Users/sue"}
WINDOWS = {
    "ProgramFiles": r"C:\Program Files",
    "PROGRAMFILES(X86)": r"C:\Program Files (x86)",
    "LocalAppData": r"C:\Users\sue\AppData\Local",
    "Path": r"C:\Tools;D:\Portable",
}

HERE = {
    "Linux, in PATH": ("firefox", "linux", LINUX, "/usr/bin/firefox"),
    "Linux, by its other name": ("chrome", "linux", LINUX, "/usr/bin/google-chrome-stable"),
    "Linux, Debian's Firefox": ("firefox", "linux", LINUX, "/usr/bin/firefox-esr"),
    "Linux, Ubuntu's Chromium": ("chromium", "linux", LINUX, "/usr/bin/chromium-browser"),
    "Linux, Edge": ("edge", "linux", LINUX, "/usr/bin/microsoft-edge-stable"),
    "Linux, Brave": ("brave", "linux", LINUX, "/usr/bin/brave-browser"),
    "Linux, Opera": ("opera", "linux", LINUX, "/usr/bin/opera"),
    "Linux, Vivaldi": ("vivaldi", "linux", LINUX, "/usr/bin/vivaldi-stable"),
    "Linux, from Flatpak": ("brave", "linux", LINUX, "/var/lib/flatpak/exports/bin/com.brave.Browser"),
    "macOS, for everybody": ("chrome", "darwin", MAC, "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    "macOS, one's own": ("edge", "darwin", MAC, "/Users/sue/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge"),
    "macOS, Safari": ("safari", "darwin", MAC, "/Applications/Safari.app/Contents/MacOS/Safari"),
    "macOS, in PATH": ("chromium", "darwin", MAC, "/opt/homebrew/bin/chromium"),
    "Windows, for everybody": ("firefox", "win32", WINDOWS, r"C:\Program Files\Mozilla Firefox\firefox.exe"),
    "Windows, 32 bit": ("edge", "win32", WINDOWS, r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe"),
    "Windows, one's own": ("chrome", "win32", WINDOWS, r"C:\Users\sue\AppData\Local\Google\Chrome\Application\chrome.exe"),
    "Windows, Opera": ("opera", "win32", WINDOWS, r"C:\Users\sue\AppData\Local\Programs\Opera\opera.exe"),
    "Windows, Chromium": ("chromium", "win32", WINDOWS, r"C:\Users\sue\AppData\Local\Chromium\Application\chrome.exe"),
    "Windows, portable": ("vivaldi", "win32", WINDOWS, r"D:\Portable\vivaldi.exe"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "system", "env", "path"), HERE.values(), ids=HERE.keys())
def test_is_found(name, system, env, path):
    found = find(name, system, env, lambda one: one == path)
    assert found is not None
    assert (found.name, found.program) == (name, path)
    assert find(name.upper(), system, env, lambda one: one == path) == found


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("name", KNOWN)
def test_what_is_not_here_is_not_found(name, system):
    assert find(name, system, {**LINUX, **MAC, **WINDOWS}, lambda _: False) is None


def test_the_registry_of_windows_goes_first():
    told = {"firefox.exe": r"E:\Firefox\firefox.exe"}
    found = find("firefox", "win32", WINDOWS, lambda _: True, told.get)
    assert found.program == r"E:\Firefox\firefox.exe"


def test_an_entry_of_the_registry_that_leads_nowhere_is_passed_over():
    there = r"C:\Program Files\Mozilla Firefox\firefox.exe"
    assert find("firefox", "win32", WINDOWS, lambda one: one == there, lambda _: r"E:\gone.exe").program == there


def test_chromium_is_not_taken_for_chrome():
    google = r"C:\Program Files\Google\Chrome\Application\chrome.exe"
    assert find("chromium", "win32", WINDOWS, lambda one: one == google, {"chrome.exe": google}.get) is None
    assert find("chrome", "win32", WINDOWS, lambda one: one == google, {"chrome.exe": google}.get).program == google


PRIVATE = {
    "chrome": "--incognito",
    "chromium": "--incognito",
    "brave": "--incognito",
    "vivaldi": "--incognito",
    "firefox": "--private-window",
    "edge": "--inprivate",
    "opera": "--private",
    "safari": None,
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_private_window_has_a_flag_of_its_own(name):
    found = find(name, "darwin", MAC, lambda _: True)
    flag = PRIVATE[name]
    assert found.command(private=True) == [found.program, *([flag] if flag else [])]
    assert found.command(private=False) == [found.program]


def test_other_names_people_use():
    assert find("google-chrome", "linux", LINUX, lambda _: True).name == "chrome"
    assert find("msedge", "linux", LINUX, lambda _: True).name == "edge"
    assert find("netscape", "linux", LINUX, lambda _: True) is None


def test_relative_folders_of_the_path_are_not_searched():
    assert find("firefox", "linux", {"PATH": "relative:."}, lambda one: not one.startswith("/var/lib")) is None


def test_everything_that_is_here_is_listed():
    here = {"/usr/bin/chromium", "/usr/bin/opera"}
    assert [one.name for one in all_here("linux", LINUX, here.__contains__)] == ["chromium", "opera"]
