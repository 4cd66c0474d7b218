"""`kiro …` as a person calls it: a fresh home, a real process, or the same call inside this one."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kiro import cli

_KEYRING = ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "PYTHON_KEYRING_BACKEND")


def environment(home: Path, **more: str) -> dict[str, str]:
    """This environment without anything of kiro's, and without the real keyring."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("KIRO_") and name not in _KEYRING}
    if sys.platform != "linux":
        env["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"
    return env | {"KIRO_HOME": str(home), "HOME": str(home), "COLUMNS": "200"} | more


class Kiro:
    """`kiro …` with one home. `run` starts a process, `call` runs in this one."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self.env = environment(home)
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(
        self, *arguments: str, stdin: str | bytes = b"", timeout: float = 30, **env: str
    ) -> subprocess.CompletedProcess[str]:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [sys.executable, "-m", "kiro", *arguments],
            input=data,
            capture_output=True,
            env=self.env | env,
            timeout=timeout,
            check=False,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def call(self, *arguments: str) -> tuple[int, str, str]:
        """Status, stdout, stderr."""
        with self._monkeypatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("KIRO_") or name in _KEYRING]:
                patch.delenv(name)
            for name, value in self.env.items():
                patch.setenv(name, value)
            status = cli.run(arguments)
        out, err = self._capsys.readouterr()
        return status, out, err

    def ok(self, *arguments: str) -> str:
        """stdout of a command that has to succeed."""
        status, out, err = self.call(*arguments)
        assert status == 0, err
        return out

    def json(self, *arguments: str) -> Any:
        return json.loads(self.ok(*arguments, "--json"))

    @contextlib.contextmanager
    def started(self, *arguments: str, **env: str) -> Iterator[subprocess.Popen[str]]:
        """A command that runs until the block ends."""
        process = subprocess.Popen(
            [sys.executable, "-m", "kiro", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.env | env,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=20)


def read_until(process: subprocess.Popen[str], text: str, *, seconds: float = 20) -> str:
    """stdout up to the line that holds `text`."""
    assert process.stdout is not None
    seen = ""
    end = time.monotonic() + seconds
    while text not in seen:
        line = process.stdout.readline()
        assert line, f"it ended without {text!r}: {seen}{process.stderr.read() if process.stderr else ''}"
        assert time.monotonic() < end
        seen += line
    return seen


def value(shown: str, name: str) -> str:
    """The value of a field in `name  value` lines."""
    return next(line.removeprefix(name).strip() for line in shown.splitlines() if line.startswith(name))
