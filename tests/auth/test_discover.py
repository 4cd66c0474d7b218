"""Where sign-ins of other programs are looked for, on each system."""

from pathlib import Path

import pytest

from kiro.auth.discover import candidates, profile_files

HOME = Path("/home/sue")


def paths(system, env=None, home=HOME, **more):
    return [str(one.path) for one in candidates(system, home, env or {}, **more)]


PLACES = {
    "the IDE's token": ("linux", {}, "/home/sue/.aws/sso/cache/kiro-auth-token.json"),
    "the CLI's database on Linux": ("linux", {}, "/home/sue/.local/share/kiro-cli/data.sqlite3"),
    "the CLI's database in XDG_DATA_HOME": ("linux", {"XDG_DATA_HOME": "/d"}, "/d/kiro-cli/data.sqlite3"),
    "the CLI's database on macOS": ("macos", {}, "/home/sue/Library/Application Support/kiro-cli/data.sqlite3"),
    "the CLI's database on Windows": ("windows", {}, "/home/sue/AppData/Local/kiro-cli/data.sqlite3"),
    "where older tools look on Windows": ("windows", {}, "/home/sue/AppData/Roaming/kiro-cli/data.sqlite3"),
    "a moved LOCALAPPDATA": ("windows", {"LOCALAPPDATA": "/l"}, "/l/kiro-cli/data.sqlite3"),
    "the database of Amazon Q": ("linux", {}, "/home/sue/.local/share/amazon-q/data.sqlite3"),
    "a database named by the environment": ("linux", {"KIRO_CLI_DB_FILE": "/x/kiro.db"}, "/x/kiro.db"),
    "a folder named by the environment": ("linux", {"KIRO_CLI_DATA_DIR": "/x"}, "/x/data.sqlite3"),
    "a token file named by the environment": ("macos", {"KIRO_CREDS_FILE": "/x/a.json"}, "/x/a.json"),
    "a cache named by the environment": ("linux", {"KIRO_SSO_CACHE_DIR": "/x"}, "/x/kiro-auth-token.json"),
    "another proxy's file": ("linux", {}, "/home/sue/.kiro/oauth_creds.json"),
    "the cache of AWS tools": ("linux", {}, "/home/sue/.aws/sso/cache"),
}


@pytest.mark.parametrize(("system", "env", "path"), PLACES.values(), ids=PLACES.keys())
def test_is_looked_at(system, env, path):
    assert path in paths(system, env)


IGNORED = {
    "a relative XDG_DATA_HOME": {"XDG_DATA_HOME": "data"},
    "a token that is no path": {"KIRO_AUTH_TOKEN": '{"accessToken":"a"}'},
    "an empty variable": {"KIRO_CREDS_FILE": ""},
}


@pytest.mark.parametrize("env", IGNORED.values(), ids=IGNORED.keys())
def test_does_not_count(env):
    assert paths("linux", env) == paths("linux")


def test_on_windows_the_local_folder_comes_before_the_roaming_one():
    found = [path for path in paths("windows") if "kiro-cli" in path]
    assert [path.split("/")[4] for path in found] == ["Local", "Roaming"]


def test_under_wsl_the_linux_side_comes_before_the_windows_side():
    found = paths("linux", windows_homes=(Path("/mnt/c/Users/Sue"),))
    own, other = "/home/sue/.aws/sso/cache/kiro-auth-token.json", "/mnt/c/Users/Sue/.aws/sso/cache/kiro-auth-token.json"
    assert found.index(own) < found.index(other)
    assert "/mnt/c/Users/Sue/AppData/Local/kiro-cli/data.sqlite3" in found


def test_what_lies_on_the_windows_side_is_marked():
    found = candidates("linux", HOME, {}, windows_homes=(Path("/mnt/c/Users/Sue"),))
    assert {one.windows for one in found if one.path.is_relative_to("/mnt")} == {True}
    assert {one.store.endswith("(Windows)") == one.windows for one in found} == {True}


def test_what_the_environment_names_comes_first_and_each_file_once():
    usual = "/home/sue/.aws/sso/cache/kiro-auth-token.json"
    found = paths("linux", {"KIRO_CREDS_FILE": usual})
    assert found[0] == usual
    assert found.count(usual) == 1


PROFILES = {
    "Linux": "/home/sue/.config/Kiro/User/globalStorage/kiro.kiroagent/profile.json",
    "macOS": "/home/sue/Library/Application Support/Kiro/User/globalStorage/kiro.kiroagent/profile.json",
    "Windows": "/home/sue/AppData/Roaming/Kiro/User/globalStorage/kiro.kiroagent/profile.json",
}


@pytest.mark.parametrize("path", PROFILES.values(), ids=PROFILES.keys())
def test_the_profile_of_the_ide_is_looked_for_beside_its_settings(path):
    token = HOME / ".aws/sso/cache/kiro-auth-token.json"
    assert path in [str(one) for one in profile_files(token, HOME, {})]


def test_the_profile_of_a_foreign_home_is_looked_for_there_only():
    token = Path("/mnt/c/Users/Sue/.aws/sso/cache/kiro-auth-token.json")
    found = [str(one) for one in profile_files(token, HOME, {"XDG_CONFIG_HOME": "/c", "KIRO_IDE_PROFILE": "/p.json"})]
    assert all(path.startswith("/mnt/c/Users/Sue/") for path in found)
