"""Real command-line agents from npm against a real `kiro demo`. Installed once, into the user's cache folder."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

INSTALL_S = 600
START_S = 20


class Demo:
    """A running `kiro demo`: address and key."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key


class Lab:
    """Where agents are installed; `run` starts one with an empty home and only the environment it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, package: str) -> Path:
        """The package's folder of commands."""
        where = self.folder / re.sub(r"[^a-z0-9]+", "-", package.strip("@"))
        commands = where / "node_modules" / ".bin"
        if not commands.exists():
            where.mkdir(parents=True, exist_ok=True)
            (where / "package.json").write_text('{"private": true}')
            npm = shutil.which("npm")
            assert npm, "the end-to-end group needs npm"
            path = (
                os.pathsep.join([str(self.node()), os.environ["PATH"]]) if package != "node@22" else os.environ["PATH"]
            )
            done = subprocess.run(
                [npm, "install", "--no-audit", "--no-fund", "--loglevel=error", package],
                cwd=where,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                timeout=INSTALL_S,
                check=False,
            )
            if done.returncode:
                shutil.rmtree(where)
            assert done.returncode == 0, done.stderr
        return commands

    def node(self) -> Path:
        """Agents want a newer node than many machines have; npm has one as a package."""
        return self.install("node@22")

    def run(
        self, package: str, command: str, arguments: list[str], env: dict[str, str], home: Path, *, limit_s: int = 120
    ):
        commands = self.install(package)
        home.mkdir(exist_ok=True)
        work = home / "work"
        work.mkdir(exist_ok=True)
        path = os.pathsep.join([str(self.node()), str(commands), "/usr/local/bin", "/usr/bin", "/bin"])
        clean = {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "TERM": "dumb", "USER": "tester", "NO_PROXY": "*"}
        return subprocess.run(
            [str(commands / command), *arguments],
            cwd=work,
            env={**clean, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )


@pytest.fixture(scope="session")
def lab() -> Lab:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Lab(cache / "kiro-agents")


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Iterator[Demo]:
    """`kiro demo` as a user starts it."""
    output = tmp_path_factory.mktemp("demo") / "output"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "kiro", "demo", "--port", "0"], stdout=sink, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            text = output.read_text()
            url = re.search(r"^base URL +(http://\S+)", text, re.MULTILINE)
            key = re.search(r"^client key +(\S+)", text, re.MULTILINE)
            if url and key and "Ctrl-C" in text:
                break
            assert process.poll() is None, text
            time.sleep(0.05)
        else:
            raise AssertionError(text)
        yield Demo(url.group(1), key.group(1))
    finally:
        process.terminate()
        assert process.wait(15) == 0, output.read_text()
