"""Homes for commands, with and without an account of an emulated Kiro."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiro.emulator.seed import social_file
from kiro.emulator.server import Emulator, running_in_thread
from support.commandline import Kiro
from support.forward import Forward


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
def proxy_login() -> Iterator[tuple[Forward, str]]:
    """A proxy on the way to Kiro in a thread of its own, and its address with user name and password."""
    forward = Forward(("me", "s3cr3t-of-the-proxy"))
    started, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with forward:
            started.set()
            while not stop.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait(10)
    yield forward, forward.url("http", "me:s3cr3t-of-the-proxy")
    stop.set()
    thread.join(10)
