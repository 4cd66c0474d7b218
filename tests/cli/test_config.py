"""`kiro config`: every setting can be read and changed, and the file survives it."""

import sys

import pytest

from kiro.storage.setting_rows import SETTINGS


def test_the_list_has_every_setting_with_value_default_source_and_help(kiro):
    listed = kiro.json("config", "list")
    assert [row["key"] for row in listed] == [setting.key for setting in SETTINGS]
    assert list(listed[0]) == ["key", "value", "default", "source", "unit", "help", "restart"]
    assert all(setting.help in kiro.ok("config") for setting in SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_every_setting_can_be_read(kiro, setting):
    assert kiro.ok("config", "get", setting.key).rstrip("\n") == setting.shown(setting.default)


EFFECTS = {
    "a setting for the next start says so": ("server.port", "9000", "9000", "when the server is restarted"),
    "a hot setting says that it takes effect at once": ("pool.strategy", "priority", "priority", "at once"),
    "a list is written with commas": ("server.allowed_hosts", "a.lan,b.lan", "a.lan, b.lan", "at once"),
    "a table is written with equals signs": (
        "models.aliases",
        "fast=claude-haiku-4.5",
        "fast=claude-haiku-4.5",
        "at once",
    ),
    "an amount keeps its unit": ("pool.sticky_minutes", "5", "5", "at once"),
}


@pytest.mark.parametrize(("key", "value", "shown", "when"), EFFECTS.values(), ids=EFFECTS.keys())
def test_set_changes_the_file_and_says_when_it_takes_effect(kiro, key, value, shown, when):
    status, out, err = kiro.call("config", "set", key, value)
    assert (status, out) == (0, "")
    assert when in err
    assert kiro.ok("config", "get", key) == f"{shown}\n"
    assert kiro.json("config", "get", key)["source"] == "file"


def test_unset_brings_the_default_back(kiro):
    kiro.ok("config", "set", "server.port", "9000")
    assert "8080" in kiro.call("config", "unset", "server.port")[2]
    assert kiro.ok("config", "get", "server.port") == "8080\n"
    assert "was not set" in kiro.call("config", "unset", "server.port")[2]


def test_comments_and_unknown_keys_survive(kiro):
    path = kiro.home / "config.toml"
    kiro.home.mkdir()
    path.write_text("# mine\n[server]\nprot = 1 # typo\n")
    _, _, err = kiro.call("config", "set", "server.port", "9000")
    assert "did you mean 'server.port'" in err
    assert path.read_text() == "# mine\n[server]\nprot = 1 # typo\nport = 9000\n"


def test_a_contradiction_is_refused_before_anything_is_written(kiro):
    kiro.ok("config", "set", "server.host", "0.0.0.0")
    status, _, err = kiro.call("config", "set", "server.require_key", "false")
    assert status == 2
    assert "anybody in the network" in err
    assert kiro.ok("config", "get", "server.require_key") == "true\n"


def test_a_variable_that_goes_first_is_told(kiro):
    kiro.env["KIRO_SERVER_PORT"] = "7000"
    assert "KIRO_SERVER_PORT is set in the environment" in kiro.call("config", "set", "server.port", "9000")[2]
    assert kiro.json("config", "get", "server.port") | {"help": ""} == {
        "key": "server.port",
        "value": 7000,
        "default": 8080,
        "source": "environment",
        "unit": "",
        "help": "",
        "restart": True,
    }


def test_a_password_in_a_proxy_is_never_shown(kiro):
    kiro.env["KIRO_UPSTREAM_PROXY"] = "http://me:hunter2hunter2@proxy:3128"
    shown = kiro.ok("config", "list") + kiro.ok("config", "list", "--json") + kiro.ok("config", "get", "upstream.proxy")
    assert "hunter2" not in shown
    assert "http://me:" in shown


def test_path_is_where_the_file_is_or_will_be(kiro):
    assert kiro.ok("config", "path") == f"{kiro.home / 'config.toml'}\n"


def editor(tmp_path, line):
    script = tmp_path / "editor.py"
    script.write_text(f"import sys, pathlib\npathlib.Path(sys.argv[1]).write_text({line!r})\n")
    return f"'{sys.executable}' '{script}'"


def test_edit_opens_the_editor_and_checks_the_file(kiro, tmp_path):
    done = kiro.run("config", "edit", EDITOR=editor(tmp_path, "[server]\nport = 9000\n"), VISUAL="")
    assert done.returncode == 0, done.stderr
    assert kiro.ok("config", "get", "server.port") == "9000\n"


def test_edit_tells_what_is_wrong_afterwards(kiro, tmp_path):
    done = kiro.run("config", "edit", EDITOR=editor(tmp_path, "[server]\nport = 'x'\n"), VISUAL="")
    assert done.returncode == 2
    assert "server.port is 'x'" in done.stderr


def test_an_editor_that_is_none_is_told(kiro):
    done = kiro.run("config", "edit", EDITOR="no-such-editor", VISUAL="")
    assert done.returncode == 2
    assert "Name yours in EDITOR." in done.stderr
