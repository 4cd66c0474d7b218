"""A setting has one value, from the strongest source that gives one, and everybody can see which that was."""

import ast
from pathlib import Path

import msgspec
import pytest

import kiro.storage.settings as module
from kiro.errors import UsageError
from kiro.storage.paths import Paths, find_paths
from kiro.storage.setting_kinds import (
    Address,
    Amount,
    BadValueError,
    Choice,
    Flag,
    Names,
    Pairs,
    Text,
    Whole,
    from_text,
    from_toml,
)
from kiro.storage.setting_rows import BY_KEY, SETTINGS
from kiro.storage.settings import Origin, differences, known, load, parse_text
from kiro.storage.settings_file import set_value, unset_value


@pytest.fixture
def paths(tmp_path) -> Paths:
    return find_paths({"KIRO_HOME": str(tmp_path)})


def write(paths: Paths, text: str) -> None:
    paths.config_file.write_text(text)


def test_without_anything_the_defaults_rule(paths):
    loaded = load(paths, {})
    assert loaded.settings.server.port == 8080
    assert loaded.settings.pool.sticky_minutes == 60
    assert set(loaded.origins.values()) == {Origin("default")}
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("file", "env", "flags", "port", "source"),
    [
        ("", {}, {}, 8080, "default"),
        ("[server]\nport = 1", {}, {}, 1, "file"),
        ("[server]\nport = 1", {"KIRO_SERVER_PORT": "2"}, {}, 2, "environment"),
        ("[server]\nport = 1", {"KIRO_SERVER_PORT": "2"}, {"server.port": 3}, 3, "flag"),
        ("[server]\nport = 1", {"KIRO_SERVER_PORT": ""}, {"server.port": None}, 1, "file"),
    ],
)
def test_flag_before_environment_before_file_before_default(paths, file, env, flags, port, source):
    write(paths, file)
    loaded = load(paths, env, flags)
    assert loaded.settings.server.port == port == loaded.values["server.port"]
    assert loaded.origins["server.port"].source == source


def test_every_row_has_a_typed_field_and_every_field_a_row(paths):
    sections = msgspec.to_builtins(load(paths, {}).settings)
    assert {f"{section}.{name}" for section, fields in sections.items() for name in fields} == set(BY_KEY)


@pytest.mark.parametrize("setting", SETTINGS, ids=[setting.key for setting in SETTINGS])
def test_a_default_fits_its_own_kind_and_can_be_written_as_text(setting):
    if setting.default is not None:
        assert from_toml(setting.kind, setting.default) == setting.default
        assert from_text(setting.kind, setting.shown(setting.default)) == setting.default
    assert setting.help.endswith(".")


def test_an_unknown_key_is_a_warning_that_names_the_nearest(paths):
    write(paths, "[server]\nprot = 1\n[relays]\nresume = true\n[zzz]\nqqq = 1\n")
    first, second, third = load(paths, {}).warnings
    assert "'server.prot'; did you mean 'server.port'" in first
    assert "'relay.resume'" in second
    assert "did you mean" not in third


def test_broken_toml_is_told_with_line_and_column(paths):
    write(paths, "[server]\nhost = here\n")
    with pytest.raises(UsageError, match=r"config.toml is not valid TOML: .*line 2, column 8") as caught:
        load(paths, {})
    assert caught.value.hint


@pytest.mark.parametrize(
    ("file", "env", "flags", "message", "hint"),
    [
        ("[server]\nport = 'x'", {}, {}, "server.port is 'x' in ", "a whole number from 0 to 65535"),
        ("", {"KIRO_SERVER_PORT": "70000"}, {}, "environment variable KIRO_SERVER_PORT", "a whole number"),
        (
            "",
            {},
            {"pool.strategy": "best"},
            "pool.strategy is 'best' on the command line",
            "one of least-used, priority",
        ),
        ("", {"KIRO_RELAY_RESUME": "maybe"}, {}, "relay.resume", "true or false"),
        ("[upstream]\nurl = 'http://example.com'", {}, {}, "upstream.url", "plain http to this computer only"),
        ("[models]\naliases = {a = 1}", {}, {}, "models.aliases", "a table of texts"),
    ],
)
def test_a_wrong_value_names_key_source_and_what_is_allowed(paths, file, env, flags, message, hint):
    write(paths, file)
    with pytest.raises(UsageError) as caught:
        load(paths, env, flags)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Flag(), "Yes", True),
        (Flag(), "off", False),
        (Whole(0, 9), " 7 ", 7),
        (Amount(0, 9), "1.5", 1.5),
        (Choice(("a", "b")), "B", "b"),
        (Text(optional=True), "", None),
        (Address(("https",)), "https://x.example/", "https://x.example"),
        (Address(("http",), loopback_http=True), "http://127.0.0.1:9", "http://127.0.0.1:9"),
        (Address(("http",), loopback_http=True), "http://[::1]:9", "http://[::1]:9"),
        (Names(), "a, b,,c", ("a", "b", "c")),
        (Pairs(), "a=b, c = d", {"a": "b", "c": "d"}),
    ],
)
def test_values_are_read_from_text(kind, text, value):
    assert from_text(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Flag(), ""),
        (Whole(0, 9), "10"),
        (Whole(0, 9), "1.0"),
        (Amount(0, 9), "nan"),
        (Text(), ""),
        (Address(("https",)), "https://"),
        (Address(("https",)), "https://[bad"),
        (Address(("http",), loopback_http=True), "http://127.0.0.1.example.com"),
        (Pairs(), "a"),
        (Pairs(), "=b"),
    ],
)
def test_texts_that_do_not_fit_are_refused(kind, text):
    with pytest.raises(BadValueError):
        from_text(kind, text)


def test_a_flag_in_toml_is_no_number():
    with pytest.raises(BadValueError):
        from_toml(Whole(0, 9), True)


def test_listening_for_everybody_without_a_key_is_refused(paths):
    write(paths, "[server]\nhost = '0.0.0.0'\nrequire_key = false\n")
    with pytest.raises(UsageError, match="require_key"):
        load(paths, {})
    write(paths, "[server]\nhost = '127.0.0.1'\nrequire_key = false\n")
    assert load(paths, {}).settings.server.require_key is False


def test_a_proxy_password_in_the_file_is_a_warning_and_is_never_shown(paths):
    write(paths, "[upstream]\nproxy = 'http://me:abc-def@p.example:1'\n")
    loaded = load(paths, {})
    assert loaded.settings.upstream.proxy == "http://me:abc-def@p.example:1"
    assert "KIRO_UPSTREAM_PROXY" in loaded.warnings[0]
    shown = repr(loaded.settings) + loaded.warnings[0] + known("upstream.proxy").shown(loaded.values["upstream.proxy"])
    assert "abc-def" not in shown
    write(paths, "[upstream]\nproxy = 'ftp://me:abc-def@p.example:1'\n")
    with pytest.raises(UsageError) as caught:
        load(paths, {})
    assert "abc-def" not in caught.value.full_text()


def test_differences_name_the_rows_that_changed(paths):
    before = load(paths, {}).settings
    after = load(paths, {}, {"server.port": 1, "pool.strategy": "priority"}).settings
    assert [(setting.key, setting.hot) for setting in differences(before, after)] == [
        ("server.port", False),
        ("pool.strategy", True),
    ]


def test_an_unknown_key_cannot_be_asked_for():
    with pytest.raises(UsageError) as caught:
        known("server.prot")
    assert "server.port" in caught.value.hint


HAND_WRITTEN = """# my settings
[server]
port = 9000 # the usual one
colour = "blue"

[mine]
x = 1
"""


def test_comments_order_and_unknown_keys_survive_a_change(paths):
    write(paths, HAND_WRITTEN)
    set_value(paths.config_file, "server.port", 9001)
    assert paths.config_file.read_text() == HAND_WRITTEN.replace("9000", "9001")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("server.port", "9001"),
        ("relay.resume", "false"),
        ("relay.ping_s", "2.5"),
        ("models.hidden", "a, b"),
        ("models.aliases", "gpt-4=claude-sonnet-4.5, x=y"),
        ("upstream.url", "https://kiro.example"),
    ],
)
def test_what_is_set_is_read_back(paths, key, text):
    value = parse_text(known(key), text, "")
    set_value(paths.config_file, key, value)
    assert load(paths, {}).values[key] == value


def test_unsetting_brings_the_default_back(paths):
    set_value(paths.config_file, "server.port", 9001)
    assert unset_value(paths.config_file, "server.port") is True
    assert unset_value(paths.config_file, "server.port") is False
    assert load(paths, {}).settings.server.port == 8080
    assert paths.config_file.read_text().strip() == ""


def test_setting_nothing_means_unsetting(paths):
    set_value(paths.config_file, "upstream.url", "https://kiro.example")
    set_value(paths.config_file, "upstream.url", None)
    assert load(paths, {}).settings.upstream.url is None


def test_a_linked_config_file_stays_a_link(paths, tmp_path):
    real = tmp_path / "dotfiles.toml"
    real.write_text("")
    paths.config_file.symlink_to(real)
    set_value(paths.config_file, "server.port", 9001)
    assert paths.config_file.is_symlink()
    assert "9001" in real.read_text()


def test_a_broken_file_is_not_overwritten(paths):
    write(paths, "[server\n")
    with pytest.raises(UsageError):
        set_value(paths.config_file, "server.port", 1)
    assert paths.config_file.read_text() == "[server\n"


def test_reading_settings_does_not_need_the_writing_library():
    tree = ast.parse(Path(module.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert "tomlkit" not in names
