"""Every described sample of a sign-in file through `accounts import`, and through `accounts scan` where it is a store."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kiro.auth.codes import MEANINGS
from kiro.auth.discover import candidates
from kiro.auth.files import read_sign_ins
from support.samples import SAMPLES, lay_out, secrets_in

CLI = {
    "linux": ".local/share/{}/data.sqlite3",
    "macos": "Library/Application Support/{}/data.sqlite3",
    "windows": "AppData/Local/{}/data.sqlite3",
}
CACHE = ".aws/sso/cache"
OTHERS = {
    "imports/aiclient2api-builder-id.json": ".kiro/oauth_creds.json",
    "imports/aiclient2api-social.json": ".kiro/oauth_creds.json",
    "imports/kiroproxy-config-export.json": ".kiro-proxy/config.json",
}


def place(case, system="linux"):
    """Where the program that writes such a file keeps it in a home; None for what is no store."""
    path = Path(case["path"])
    if case.get("read_as") == "sqlite":
        return CLI[system].format("amazon-q" if "amazon-q" in path.name else "kiro-cli")
    if path.name == "kiro-auth-token.json" or path.parts[1] == "aws-sso-cache":
        return f"{CACHE}/{path.name}"
    return OTHERS.get(case["path"])


STORES = [case for case in SAMPLES if place(case) is not None]


def ids(cases):
    return [case["path"] for case in cases]


def test_no_sample_is_left_out():
    assert len(SAMPLES) == 98
    assert len(STORES) == 24


@pytest.fixture
def user(kiro, tmp_path):
    """The home folder of a person, beside kiro's own, on a Linux."""
    folder = tmp_path / "sue"
    folder.mkdir()
    kiro.env |= {"HOME": str(folder), "USERPROFILE": str(folder), "XDG_DATA_HOME": str(folder / ".local/share")}
    kiro.env |= {"XDG_CONFIG_HOME": str(folder / ".config"), "KIRO_HOME": str(tmp_path / "home")}
    return folder


def exported(kiro, tmp_path):
    """The accounts with their secrets, as kiro itself writes them."""
    file = tmp_path / "exported.json"
    kiro.ok("accounts", "export", "--plain", "-o", str(file))
    return json.loads(file.read_text())["accounts"]


def seen(account):
    """An exported account in the words of the samples."""
    secrets = account["credentials"]
    moment = secrets.get("expires_at")
    client = secrets.get("client") or {}
    return {
        "method": secrets["type"],
        "auth_region": account.get("auth_region"),
        "api_region": account.get("api_region"),
        "refreshable": secrets["type"] in ("social", "external_idp") or bool(client),
        "enabled": account.get("enabled", True),
        "provider": account.get("provider"),
        "email": account.get("email"),
        "profile_arn": secrets.get("profile_arn"),
        "client_id": secrets.get("client_id") or client.get("id"),
        "start_url": account.get("start_url"),
        "expires_at": datetime.fromisoformat(moment) if moment else None,
        "refresh_token": secrets.get("refresh_token"),
    }


def assert_described(case, accounts):
    """What was imported is what the sample says, each account by its own fields."""
    found = [seen(account) for account in accounts]
    for expected in case["accounts"]:
        moment = expected.get("expires_at")
        wanted = {**expected, "expires_at": datetime.fromisoformat(moment)} if moment else expected
        fitting = [one for one in found if {name: one[name] for name in wanted} == wanted]
        assert fitting, (wanted, found)
        found.remove(fitting[0])
    assert not found


@pytest.mark.parametrize("case", SAMPLES, ids=ids(SAMPLES))
def test_a_sample_is_imported_as_described(kiro, tmp_path, case):
    name = "data.sqlite3" if case.get("read_as") == "sqlite" else Path(case["path"]).name
    file = lay_out(case, tmp_path / "in" / name)
    status, out, err = kiro.call("accounts", "import", str(file), "--json")
    assert status == (0 if case["accounts"] else 1), err
    shown = out + err
    if case["file_errors"]:
        assert out == ""
        assert all(MEANINGS[code] in err for code in case["file_errors"])
    else:
        told = json.loads(out)
        assert told["format"] == case["format"]
        assert [one["kind"] for one in told["accounts"]] == [one["method"] for one in case["accounts"]]
        assert [{"index": one["index"], "code": one["code"]} for one in told["refused"]] == case["rejected"]
        assert [one["code"] for one in told["warnings"]] == sorted(case["warnings"])
    if case["accounts"]:
        assert_described(case, exported(kiro, tmp_path))
    again, out, err = kiro.call("accounts", "import", str(file), "--yes")
    shown += out + err
    assert again == status
    if not case["file_errors"]:
        assert out.count("updated") == len(case["accounts"])
        assert all(f"Entry {one['index'] + 1} {MEANINGS[one['code']]}." in out for one in case["rejected"])
        assert all(f"note: {MEANINGS[code]}" in err for code in case["warnings"])
    assert not [secret for secret in secrets_in(case) if secret in shown]


@pytest.mark.parametrize("case", STORES, ids=ids(STORES))
def test_a_store_is_found_at_its_place_and_added(kiro, user, tmp_path, case):
    file = lay_out(case, user / place(case))
    status, out, err = kiro.call("accounts", "scan", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert {line["path"] for line in found} <= {str(file)}
    usable = [line for line in found if line["status"] != "unusable"]
    sentences = [f"The sign-in {MEANINGS[one['code']]}." for one in case["rejected"]]
    sentences += [MEANINGS[code] for code in case["file_errors"] if code not in ("E_NO_ACCOUNTS", "E_NOT_A_CREDENTIAL")]
    if case["format"] == "aws-sso-cache-token":
        assert [line["status"] for line in found] == ["unusable"]
    else:
        assert [line["kind"] for line in usable] == [one["method"] for one in case["accounts"]]
        assert [line["status"] for line in usable] == ["new"] * case["account_count"]
        assert sorted(line["problem"] for line in found if line["problem"]) == sorted(sentences)
    shown = out + err
    status, out, err = kiro.call("accounts", "scan", "--add")
    shown += out + err
    assert status == (1 if found and not usable else 0)
    if usable:
        assert_described(case, exported(kiro, tmp_path))
        assert {one["status"] for one in kiro.json("accounts", "scan")} - {"unusable"} == {"known"}
    else:
        assert kiro.json("accounts", "list") == []
    assert not [secret for secret in secrets_in(case) if secret in shown]


@pytest.mark.parametrize("system", ["linux", "macos", "windows"])
@pytest.mark.parametrize("case", STORES, ids=ids(STORES))
def test_a_store_has_one_place_on_each_system(tmp_path, system, case):
    file = lay_out(case, tmp_path / place(case, system))
    places = [one.path / file.name if one.folder else one.path for one in candidates(system, tmp_path, {})]
    assert file in places
    assert [path for path in places if path.exists()] in ([file], [file, file])
    report = read_sign_ins(file, now=datetime.now(UTC))
    assert (report.format, len(report.accounts)) == (case["format"], case["account_count"])


def test_a_sample_through_processes(kiro, user):
    """What is shown inside this process is what a person sees."""
    case = next(case for case in STORES if case["path"].endswith("ide-builder-id/kiro-auth-token.json"))
    file = lay_out(case, user / place(case))
    imported = kiro.run("accounts", "import", str(file), "--json")
    assert imported.returncode == 0, imported.stderr
    assert json.loads(imported.stdout)["accounts"][0]["kind"] == "builder_id"
    scanned = kiro.run("accounts", "scan", "--json")
    assert [line["status"] for line in json.loads(scanned.stdout)] == ["known"]
    shown = imported.stdout + imported.stderr + scanned.stdout + scanned.stderr
    assert not [secret for secret in secrets_in(case) if secret in shown]
