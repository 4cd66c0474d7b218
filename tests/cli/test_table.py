"""What `kiro` itself promises: help at once, errors with a hint, an exit status that means something."""

import json
import os
import re
import socket
import subprocess
import sys

import pytest

from kiro.cli import render
from kiro.cli.completions import places
from kiro.cli.table import COMMANDS, root

HEAVY = (
    "aiohttp",
    "asyncio",
    "rich",
    "cryptography",
    "sqlite3",
    "PIL",
    "pypdf",
    "keyring",
    "tomlkit",
    "msgspec",
    "uvloop",
    "ssl",
)


def modules_after(*arguments, env):
    code = (
        "import sys, json, io\n"
        "from kiro.cli import run\n"
        "real, sys.stdout = sys.stdout, io.StringIO()\n"
        f"status = run({list(arguments)!r})\n"
        "json.dump([status, sorted(sys.modules)], real)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=True)
    status, modules = json.loads(done.stdout)
    assert status == 0
    return set(modules)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []], ids=["help", "version", "no command"])
def test_what_is_asked_of_kiro_itself_imports_nothing_heavy(kiro, arguments):
    loaded = modules_after(*arguments, env=kiro.env)
    assert not loaded & set(HEAVY)
    assert not {name for name in loaded if name.startswith("kiro.cli.")} - {"kiro.cli.table", "kiro.cli.render"}


@pytest.mark.parametrize("name", ["serve", "accounts", "logs"])
def test_the_help_of_a_command_imports_neither_network_nor_crypto(kiro, name):
    loaded = modules_after(name, "--help", env=kiro.env)
    assert not loaded & {"aiohttp", "rich", "cryptography", "sqlite3", "PIL", "keyring"}


def test_a_small_command_does_not_load_what_only_serving_needs(kiro):
    loaded = modules_after("keys", "list", "--json", env=kiro.env)
    assert not loaded & {"aiohttp", "rich", "PIL", "pypdf", "keyring", "uvloop"}


SERVING = """
import json, os, socket, sys, threading, time
from kiro.cli import main

def told():
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(sys.argv[3]))).close()
        except OSError:
            time.sleep(0.02)
        else:
            with open(os.environ["TOLD"], "w") as file:  # the banner goes on meanwhile
                json.dump(sorted(sys.modules), file)
            os._exit(0)

threading.Thread(target=told, daemon=True).start()
main()
"""


def test_a_server_that_nobody_has_asked_holds_only_what_it_needs(kiro, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVING, "serve", "--port", str(port)]
    told = tmp_path / "modules.json"
    subprocess.run(command, capture_output=True, env={**kiro.env, "TOLD": str(told)}, check=True, timeout=30)
    loaded = set(json.loads(told.read_text()))
    assert "kiro.server.app" in loaded
    assert not loaded & {"typer", "rich", "PIL", "pypdf", "keyring", "jsonschema", "tomlkit", "aiohttp_socks"}
    assert loaded & {"frozenlist._frozenlist", "kiro.auth.formats", "kiro.emulator.server"} == set()
    assert not {name for name in loaded if re.match(r"kiro\.protocols\.\w+\.\w+", name)}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_of_each_command_what_its_own_help_says_first(name):
    own = root().get_command(None, name).help
    assert own.split("\n\n")[0] == COMMANDS[name].help


@pytest.mark.parametrize("place", [place for place in places() if place.path], ids=lambda place: place.path)
def test_every_command_has_help_with_an_example(kiro, place):
    status, out, _ = kiro.call(*place.path.strip("/").split("/"), "--help")
    assert status == 0
    assert "Example:" in " ".join(out.split())


def test_the_process_gives_help_on_stdout_and_status_0(kiro):
    done = kiro.run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in COMMANDS)


MISUSES = {
    "a command that is none is told, with the nearest one": (
        ["serv"],
        "There is no command 'serv'.",
        "Did you mean `kiro serve`?",
    ),
    "a command far from any points at the help": (["xyzzy"], "There is no command 'xyzzy'.", "`kiro --help`"),
    "an option that is none names the command's help": (
        ["serve", "--prot", "1"],
        "No such option: --prot",
        "`kiro serve --help`",
    ),
    "an argument that is missing is named": (
        ["accounts", "show"],
        "Missing argument 'NAME'",
        "`kiro accounts show --help`",
    ),
    "a number out of range is refused": (
        ["serve", "--port", "99999"],
        "Invalid value for '--port'",
        "`kiro serve --help`",
    ),
    "an account that is none is told": (["accounts", "show", "me"], "There is no account 'me'.", "kiro"),
    "a key that is none is told": (["keys", "show", "me"], "There is no client key 'me'.", "`kiro keys list`"),
    "a setting that is none names the nearest": (
        ["config", "get", "server.prot"],
        "There is no setting",
        "server.port",
    ),
    "a time that is none shows how times look": (["logs", "--since", "yesterday"], "'yesterday' is no time.", "30m"),
    "a request that is none points at the list": (
        ["logs", "show", "req_x"],
        "There is no request 'req_x'.",
        "`kiro logs`",
    ),
    "a file that is none is told": (["accounts", "import", "/nowhere.json"], "There is no file", ""),
    "stdin cannot be followed": (["accounts", "import", "-", "--follow"], "Stdin cannot be followed.", "file"),
    "a shell without completion is told": (["--show-completion", "tcsh"], "There is no completion for 'tcsh'.", "bash"),
    "a setting's value out of range says what is allowed": (
        ["config", "set", "server.port", "x"],
        "server.port is 'x'",
        "0 to 65535",
    ),
}


@pytest.mark.parametrize(("arguments", "message", "hint"), MISUSES.values(), ids=MISUSES.keys())
def test_misuse_is_a_clear_error_with_status_2(kiro, arguments, message, hint):
    status, out, err = kiro.call(*arguments)
    assert (status, out) == (2, "")
    assert f"error: {message}" in err
    assert hint in err


def test_asking_without_an_account_ends_with_status_3(kiro):
    status, out, err = kiro.call("ask", "hi")
    assert (status, out) == (3, "")
    assert "There is no account yet." in err
    assert "hint: " in err


def test_a_reader_that_leaves_early_makes_no_noise(kiro):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "kiro", "config", "list"],
        stdout=write,
        stderr=subprocess.PIPE,
        env=kiro.env,
        check=False,
    )
    os.close(write)
    assert done.stderr == b""


def break_the_database(kiro):
    """Something nobody foresaw: a column of the accounts holds what was never written there."""
    import sqlite3

    kiro.ok("accounts", "list")
    with sqlite3.connect(kiro.home / "kiro.db") as database:
        database.execute(
            "INSERT INTO accounts (id, name, kind, state, enabled, priority, machine_id, flavour, mode, created_at)"
            " VALUES ('x', 'x', 'no such kind', 'active', 1, 0, '', 'ide', 'own', 'refreshToken=abcdefghijkl')"
        )
    database.close()


def test_an_unforeseen_error_is_one_sentence_and_a_redacted_traceback_in_the_log(kiro):
    break_the_database(kiro)
    done = kiro.run("accounts", "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert str(kiro.home / "kiro.log") in done.stderr
    logged = (kiro.home / "kiro.log").read_text()
    assert "Traceback" in logged
    assert "abcdefghijkl" not in logged


def test_kiro_debug_shows_the_traceback_redacted(kiro):
    break_the_database(kiro)
    done = kiro.run("accounts", "list", KIRO_DEBUG="1")
    assert "Traceback" in done.stderr
    assert "abcdefghijkl" not in done.stderr


def test_a_setting_from_the_environment_that_is_wrong_names_the_variable(kiro):
    kiro.env["KIRO_SERVER_PORT"] = "many"
    status, _, err = kiro.call("status")
    assert status == 2
    assert "KIRO_SERVER_PORT" in err


CELLS = {
    "columns are as wide as their widest cell": ([("a", "1"), ("long", "2")], "N     V\na     1\nlong  2\n"),
    "a line has no blanks at its end": ([("a", "")], "N  V\na\n"),
}


@pytest.mark.parametrize(("rows", "text"), CELLS.values(), ids=CELLS.keys())
def test_plain_tables(rows, text):
    assert render.plain_table(("N", "V"), rows) == text


def test_numbers_are_aligned_to_the_right():
    assert render.plain_table(("N", "V"), [("a", "1"), ("b", "100")], right=("V",)) == "N    V\na    1\nb  100\n"


def test_text_from_outside_cannot_steer_the_terminal():
    assert render.clean("a\x1b[31mb\x07\x9bc\r\nd\te") == "a[31mbc\nd\te"
