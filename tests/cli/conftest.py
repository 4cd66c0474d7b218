"""Homes for commands, with and without an account of an emulated Kiro."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiro.emulator.seed import social_file
from kiro.emulator.server import Emulator, running_in_thread
from support.commandline import Kiro


@pytest.fixture
def kiro(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Kiro:
    return Kiro(tmp_path / "home", monkeypatch, capsys)


@pytest.fixture
def upstream() -> Iterator[Emulator]:
    """An emulated Kiro in a thread of its own."""
    with running_in_thread(Emulator()) as running:
        yield running


@pytest.fixture
def signed_in(kiro: Kiro, upstream: Emulator, tmp_path: Path) -> Kiro:
    """A home with one account, `first`, of the emulated Kiro."""
    kiro.env |= dict.fromkeys(("KIRO_UPSTREAM_URL", "KIRO_AUTH_SOCIAL_URL", "KIRO_AUTH_OIDC_URL"), upstream.url)
    file = tmp_path / "first.json"
    file.write_text(json.dumps(social_file(upstream, upstream.people.add("first"))))
    kiro.ok("accounts", "import", str(file), "--name", "first")
    return kiro


@pytest.fixture
def here(kiro: Kiro, upstream: Emulator) -> Kiro:
    """A home with a vault, whose Kiro is the emulated one."""
    kiro.env |= dict.fromkeys(("KIRO_UPSTREAM_URL", "KIRO_AUTH_SOCIAL_URL", "KIRO_AUTH_OIDC_URL"), upstream.url)
    kiro.ok("keys", "create", "laptop")
    return kiro


@pytest.fixture
def browser(tmp_path: Path) -> str:
    """A browser that goes where it is sent, and writes down what it was called with."""
    script = tmp_path / "browser.py"
    script.write_text(
        "import pathlib, signal, sys, urllib.request\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"pathlib.Path({str(tmp_path / 'called')!r}).write_text(sys.argv[1])\n"
        "print(urllib.request.urlopen(sys.argv[1].replace('localhost', '127.0.0.1')).read()[:0])\n"
    )
    return f"{sys.executable} {script} %s"
