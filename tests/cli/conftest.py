"""Homes for commands, with and without an account of an emulated Kiro."""

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kiro.emulator.accounts import Kind, Person
from kiro.emulator.seed import social_file
from kiro.emulator.server import Emulator, running_in_thread
from support.certificates import self_signed, server_context
from support.commandline import Kiro
from support.forward import Forward


@pytest.fixture
def kiro(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Kiro:
    return Kiro(tmp_path / "home", monkeypatch, capsys)


@pytest.fixture
def upstream() -> Iterator[Emulator]:
    """An emulated Kiro in a thread of its own, where codes are confirmed at once: each poll takes a second."""
    with running_in_thread(Emulator(polls=0)) as running:
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


COMPANY_HOST = "login.company.example"


@pytest.fixture
def join(here: Kiro, upstream: Emulator) -> Callable[..., Person]:
    """Signs somebody of a kind in at once, by a token; whoever that is. `more` are fields of the person."""

    def joined(kind: Kind = "social", name: str = "mine", **more: Any) -> Person:
        person = upstream.people.add("sue", kind)
        for field, said in more.items():
            setattr(person, field, said)
        client, secret = (person.client.id, person.client.secret) if person.client else ("company-client", "")
        arguments = {
            "social": (),
            "builder_id": ("--client-id", client),
            "idc": (
                "--client-id",
                client,
                "--start-url",
                "https://d-1234567890.awsapps.com/start",
                "--region",
                "eu-west-1",
            ),
            "external_idp": ("--client-id", client, "--token-endpoint", f"https://{COMPANY_HOST}/tenant/oauth2/token"),
        }[kind]
        if kind == "external_idp":
            here.ok("config", "set", "auth.external_hosts", COMPANY_HOST)
        stdin = f"{upstream.people.issue(person).refresh}\n{secret}\n"
        done = here.run("login", "token", *arguments, "--name", name, stdin=stdin)
        assert f"{name} is added." in done.stderr
        upstream.requests.clear()
        return person

    return joined


@pytest.fixture
def proxy_login() -> Iterator[tuple[Forward, str]]:
    """A proxy on the way to Kiro in a thread of its own, and its address with user name and password."""
    forward = Forward(("me", "s3cr3t-of-the-proxy"))
    with in_thread(forward):
        yield forward, forward.url("http", "me:s3cr3t-of-the-proxy")


@pytest.fixture
def encrypted_proxy(tmp_path: Path) -> Iterator[tuple[Forward, str, Path]]:
    """The same, reached by TLS; the last is the certificate to trust."""
    certificate = self_signed(tmp_path)
    forward = Forward(("me", "s3cr3t-of-the-proxy"), server_context(certificate))
    with in_thread(forward):
        yield forward, forward.url("https", "me:s3cr3t-of-the-proxy"), certificate


@contextlib.contextmanager
def in_thread(forward: Forward) -> Iterator[None]:
    started, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with forward:
            started.set()
            while not stop.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait(10)
    yield
    stop.set()
    thread.join(10)
