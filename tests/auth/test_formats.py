"""Every sample of every known sign-in file is read as its description says: format, accounts, refusals, warnings."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro.auth.codes import MEANINGS
from kiro.auth.credentials import (
    ApiKeyCredentials,
    BuilderIdCredentials,
    ExternalIdpCredentials,
    IdcCredentials,
    can_refresh,
    expiry,
    kind_of,
    profile_arn,
)
from kiro.auth.fields import EXPIRY_NAMES, NAMES
from kiro.auth.formats import ImportReport, read_import
from kiro.auth.records import ImportedAccount

CASES = Path(__file__).parent.parent / "cases" / "auth"
INDEX = json.loads((CASES / "index.json").read_text())
NOW = datetime.fromisoformat(INDEX["reference_time"])


def no_siblings(name: str) -> bytes | None:
    return None


def read(data: bytes, siblings=no_siblings, name: str = "file") -> ImportReport:
    return read_import(data, name=name, siblings=siblings, now=NOW)


def read_case(case: dict, tmp_path: Path) -> ImportReport:
    path = CASES / case["path"]
    allowed = {Path(sibling).name: CASES / sibling for sibling in case.get("siblings", ())}
    data = path.read_bytes()
    if case.get("read_as") == "sqlite":
        store = tmp_path / "data.sqlite3"
        with sqlite3.connect(store) as connection:
            connection.executescript(data.decode())
        connection.close()
        data = store.read_bytes()
    return read(data, lambda name: allowed[name].read_bytes() if name in allowed else None, path.name)


def seen(account: ImportedAccount) -> dict:
    credentials = account.credentials
    oidc = isinstance(credentials, BuilderIdCredentials | IdcCredentials)
    if isinstance(credentials, ExternalIdpCredentials):
        client_id = credentials.client_id
    else:
        client_id = credentials.client.id if oidc and credentials.client else None
    moment = expiry(credentials)
    return {
        "method": kind_of(credentials),
        "auth_region": account.auth_region,
        "api_region": account.api_region,
        "refreshable": can_refresh(credentials),
        "enabled": account.enabled,
        "provider": account.provider,
        "email": account.email,
        "profile_arn": profile_arn(credentials),
        "client_id": client_id,
        "start_url": account.start_url,
        "expires_at": moment,
        "refresh_token": None if isinstance(credentials, ApiKeyCredentials) else credentials.refresh_token.reveal(),
    }


@pytest.mark.parametrize("case", INDEX["cases"], ids=[case["path"] for case in INDEX["cases"]])
def test_a_sample_is_read_as_described(case, tmp_path):
    report = read_case(case, tmp_path)
    assert report.format == case["format"]
    assert list(report.file_errors) == case["file_errors"]
    assert [{"index": one.index, "code": one.code} for one in report.rejected] == case["rejected"]
    assert report.warnings == set(case["warnings"])
    assert len(report.accounts) == case["account_count"]
    for account, expected in zip(report.accounts, case["accounts"], strict=True):
        moment = expected.get("expires_at")
        wanted = {**expected, "expires_at": datetime.fromisoformat(moment)} if moment else expected
        found = seen(account)
        assert {name: found[name] for name in wanted} == wanted


def test_there_are_98_samples():
    assert len(INDEX["cases"]) == 98


def test_every_code_of_the_samples_has_a_meaning():
    codes = {code for case in INDEX["cases"] for code in [*case["file_errors"], *case["warnings"]]}
    codes |= {one["code"] for case in INDEX["cases"] for one in case["rejected"]}
    assert codes <= MEANINGS.keys()


def test_the_profile_file_of_the_ide_gives_profile_and_region():
    folder = CASES / "stores/ide-enterprise"
    report = read((folder / "kiro-auth-token.json").read_bytes(), lambda name: (folder / name).read_bytes())
    [account] = report.accounts
    assert account.api_region == "eu-central-1"
    assert profile_arn(account.credentials) == "arn:aws:codewhisperer:eu-central-1:000000000000:profile/FAKEEXAMPLE1"


def test_rows_that_are_still_in_the_write_ahead_log_are_read(tmp_path):
    store = tmp_path / "data.sqlite3"
    connection = sqlite3.connect(store)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript((CASES / "stores/kiro-cli/social.sql").read_text())
    data, log = store.read_bytes(), (tmp_path / "data.sqlite3-wal").read_bytes()
    connection.close()
    report = read(data, {"data.sqlite3-wal": log}.get, "data.sqlite3")
    assert len(report.accounts) == 1


def test_a_damaged_database_is_told_apart_from_one_where_nobody_is_signed_in():
    assert read(b"SQLite format 3\0" + b"x" * 500).file_errors == ("E_UNREADABLE_STORE",)


def test_broken_json_is_told_by_line_and_column_and_never_quoted():
    report = read((CASES / "edge/trailing-comma.json").read_bytes())
    # the comma, or the place behind it: Python's wording changed with 3.13
    assert report.position in ("line 3, column 25", "line 4, column 1")


def test_a_huge_input_is_refused_before_it_is_read():
    assert read(b"[" + b" " * 6_000_000).file_errors == ("E_TOO_LARGE",)


def test_deep_nesting_does_not_break_the_reader():
    assert read(b"[" * 100_000).file_errors == ("E_NOT_JSON",)


def test_a_company_host_can_be_allowed():
    data = json.dumps(
        {
            "refreshToken": "x" * 30,
            "authMethod": "external_idp",
            "clientId": "c",
            "tokenEndpoint": "https://login.corp.example/t",
        }
    ).encode()
    assert [one.code for one in read(data).rejected] == ["R_ENDPOINT_NOT_ALLOWED"]
    report = read_import(data, name="f", siblings=no_siblings, now=NOW, extra_hosts=("login.corp.example",))
    assert len(report.accounts) == 1


def test_a_proxy_with_user_and_password_becomes_one_hidden_address():
    data = json.dumps(
        {"kiroApiKey": "ksk_x", "proxyUrl": "http://p.example:3128", "proxyUsername": "me", "proxyPassword": "a@b"}
    ).encode()
    [account] = read(data).accounts
    assert account.proxy.reveal() == "http://me:a%40b@p.example:3128"
    assert "a%40b" not in repr(account)


@pytest.mark.parametrize("proxy", ["10.0.0.1:3128", "ftp://p.example", "http://", "http://[::1", "http://a b:1"])
def test_a_proxy_that_cannot_be_used_is_dropped_with_a_remark(proxy):
    report = read(json.dumps({"kiroApiKey": "ksk_x", "proxyUrl": proxy}).encode())
    assert report.accounts[0].proxy is None
    assert report.warnings == {"W_BAD_PROXY"}


def test_half_characters_spoil_a_token_but_not_a_nickname():
    token = b'[{"refreshToken":"aor\\ud800' + b"r" * 100 + b'","authMethod":"social"}]'
    assert [one.code for one in read(token).rejected] == ["R_UNREADABLE"]
    assert read(b'{"kiroApiKey":"ksk_x","nickname":"sue\\ud83d"}').accounts[0].name == "sue?"
    own = b'{"format":"kiro-accounts","version":1,"accounts":[{"credentials":{"type":"api_key","api_key":"\\ud800"}}]}'
    assert [one.code for one in read(own).rejected] == ["R_UNREADABLE"]


def test_a_priority_beyond_all_numbers_is_none():
    assert read(b'{"kiroApiKey":"ksk_x","priority":100000000000000000000}').accounts[0].priority is None


WORDS = [name for names in NAMES.values() for name in names]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(
        ["social", "IdC", "kiro", "json", "refresh_token", "https://login.microsoftonline.com/t", "ksk_abcd"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=12,
)
MARKS = [
    "type",
    "format",
    "accounts",
    "credentials",
    "oauth_flow",
    "arn",
    "app",
    "weight",
    "enabled",
    "priority",
    "version",
]
DOCUMENTS = st.dictionaries(st.sampled_from([*WORDS, *MARKS, *EXPIRY_NAMES]), VALUES, max_size=8)


@given(document=DOCUMENTS | st.lists(DOCUMENTS, max_size=3))
def test_no_document_breaks_the_reader(document):
    report = read(json.dumps(document).encode())
    assert {*report.file_errors, *report.warnings, *(one.code for one in report.rejected)} <= MEANINGS.keys()


@given(rows=st.lists(DOCUMENTS | VALUES, max_size=3))
def test_no_row_breaks_the_reader_of_our_own_format(rows):
    own = {
        "format": "kiro-accounts",
        "version": 1,
        "accounts": [*rows, {"credentials": {"type": "api_key", "api_key": "k"}}],
    }
    report = read(json.dumps(own).encode())
    assert [one.index for one in report.accounts] == [len(rows)]


def test_a_machine_id_is_kept_and_a_uuid_is_written_twice():
    [account] = read(b'{"kiroApiKey":"ksk_x","machineId":"00000000-0000-4000-8000-00000000000f"}').accounts
    assert account.machine_id == "0000000000004000800000000000000f" * 2


def test_a_region_where_kiro_does_not_answer_never_becomes_an_api_region():
    [account] = (report := read(b'{"kiroApiKey":"ksk_x","region":"ap-southeast-1"}')).accounts
    assert account.api_region is None
    assert report.warnings == {"W_API_REGION_UNKNOWN"}


def test_a_token_of_yesterday_is_expired():
    moment = (NOW - timedelta(days=1)).isoformat()
    data = json.dumps(
        {"accessToken": "a", "refreshToken": "r" * 120, "authMethod": "social", "expiresAt": moment}
    ).encode()
    assert "W_EXPIRED" in read(data).warnings


def test_reading_never_shows_a_secret():
    for case in INDEX["cases"]:
        if case.get("read_as") != "sqlite":
            text = repr(read((CASES / case["path"]).read_bytes()))
            assert "aor" not in text
            assert "aoa" not in text
            assert "ksk_" not in text
            assert "FAKE-CLIENT-SECRET" not in text


def test_times_are_aware():
    for case in INDEX["cases"]:
        if case.get("read_as") != "sqlite":
            for account in read((CASES / case["path"]).read_bytes()).accounts:
                moment = expiry(account.credentials)
                assert moment is None or moment.tzinfo is UTC
