"""`completions/` holds what the commands are now, and it works."""

import shutil
import subprocess
from pathlib import Path

import pytest

from kiro.cli.completions import FILES, script
from kiro.storage.setting_rows import SETTINGS

FOLDER = Path(__file__).parents[2] / "completions"


@pytest.mark.parametrize("shell", FILES)
def test_the_files_are_current(shell):
    """`kiro --show-completion SHELL > completions/FILE` brings one up to date."""
    assert (FOLDER / FILES[shell]).read_text("utf-8") == script(shell)


def test_there_are_no_other_files():
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(FILES.values())


@pytest.mark.parametrize("shell", FILES)
def test_a_shell_that_is_here_can_read_its_file(shell):
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    flag = "--no-execute" if shell == "fish" else "-n"
    done = subprocess.run([program, flag, str(FOLDER / FILES[shell])], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


OFFERS = {
    "the commands": (["ac"], ["accounts"]),
    "the commands of a group": (["accounts", "re"], ["remove", "rename", "refresh", "restore"]),
    "the options of a command": (["serve", "--p"], ["--port"]),
    "the ways to sign in": (["login", "remote", "g"], ["google", "github"]),
    "the settings": (["config", "set", "pool."], [row.key for row in SETTINGS if row.key.startswith("pool.")]),
    "nothing where a name of the person's own stands": (["accounts", "show", "x"], []),
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(("words", "offered"), OFFERS.values(), ids=OFFERS.keys())
def test_bash_offers(words, offered):
    typed = " ".join(f"'{word}'" for word in ["kiro", *words])
    code = f'source "{FOLDER / "kiro.bash"}"; COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _kiro; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == sorted(offered)


INSTALLED = {
    "bash": ".local/share/bash-completion/completions/kiro",
    "zsh": ".zfunc/_kiro",
    "fish": ".config/fish/completions/kiro.fish",
}


@pytest.mark.parametrize(("shell", "place"), INSTALLED.items(), ids=INSTALLED.keys())
def test_install_writes_the_file_where_the_shell_looks(kiro, shell, place):
    kiro.env |= {"SHELL": f"/usr/bin/{shell}", "XDG_DATA_HOME": "", "XDG_CONFIG_HOME": ""}
    assert str(kiro.home / place) in kiro.ok("--install-completion")
    assert (kiro.home / place).read_text("utf-8") == script(shell)


def test_a_shell_that_is_not_known_is_told(kiro):
    kiro.env["SHELL"] = "/bin/tcsh"
    status, _, err = kiro.call("--install-completion")
    assert status == 2
    assert "tcsh" in err
