"""What is exported comes back: every kind of sign-in in every format, sealed or open."""

import json
from datetime import UTC, datetime

import msgspec
import pytest

from kiro.auth import exports, sealed
from kiro.auth.credentials import (
    ApiKeyCredentials,
    BuilderIdCredentials,
    ExternalIdpCredentials,
    IdcCredentials,
    OidcClient,
    SocialCredentials,
)
from kiro.auth.formats import read_import
from kiro.auth.records import ImportedAccount
from kiro.redaction import Secret

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LATER = datetime(2026, 11, 1, 1, tzinfo=UTC)
CLIENT = OidcClient(id="client", secret=Secret("hush"), expires_at=datetime(2027, 1, 1, tzinfo=UTC))
TOKENS = {"access_token": Secret("aoa" + "a" * 120), "refresh_token": Secret("aor" + "r" * 120), "expires_at": LATER}
ARN = "arn:aws:codewhisperer:eu-central-1:111122223333:profile/ABC"
SOCIAL_ARN = "arn:aws:codewhisperer:us-east-1:699475941385:profile/EHGA3GRVQMUK"
PERSON = {"email": "sue@example.com", "user_id": "d-1.sue", "name": "sue", "machine_id": "ab" * 32}
EXTERNAL = {
    "client_id": "app",
    "token_endpoint": "https://login.microsoftonline.com/t/oauth2/v2.0/token",
    "issuer_url": "https://login.microsoftonline.com/t/v2.0",
    "scopes": "a offline_access",
}


def account(credentials, **fields):
    common = {"index": 0, "priority": 3, "flavour": "cli", "proxy": Secret("http://u:p@127.0.0.1:3"), **PERSON}
    return ImportedAccount(credentials=credentials, **{**common, **fields})


ACCOUNTS = {
    "social": account(
        SocialCredentials(**TOKENS, profile_arn=SOCIAL_ARN, provider="Google"),
        provider="Google",
        auth_region="us-east-1",
        api_region="us-east-1",
    ),
    "builder_id": account(
        BuilderIdCredentials(**TOKENS, client=CLIENT, scopes=("codewhisperer:completions",)),
        provider="BuilderId",
        auth_region="us-east-1",
        api_region="us-east-1",
        start_url="https://view.awsapps.com/start",
    ),
    "idc": account(
        IdcCredentials(
            **TOKENS, client=CLIENT, auth_region="eu-west-1", start_url="https://d-1.awsapps.com/start", profile_arn=ARN
        ),
        provider="Enterprise",
        auth_region="eu-west-1",
        api_region="eu-central-1",
        start_url="https://d-1.awsapps.com/start",
        enabled=False,
    ),
    "external_idp": account(
        ExternalIdpCredentials(**TOKENS, **EXTERNAL, profile_arn=ARN), provider="ExternalIdp", api_region="eu-central-1"
    ),
    "api_key": account(ApiKeyCredentials(api_key=Secret("ksk_12345678")), api_region="us-east-1"),
}
FORMATS = {"kiro": "kiro-accounts", "kiro-rs": "kiro-rs", "account-manager": "kam-export"}


def read(data, **options):
    return read_import(data, name="file", siblings=lambda _: None, now=NOW, **options)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ACCOUNTS)
def test_an_account_comes_back_as_it_was(kind, form):
    written = ACCOUNTS[kind]
    report = read(exports.write([written], form, NOW))
    assert report.format == FORMATS[form]
    assert report.rejected == ()
    assert report.accounts == (written,)
    assert exports.losses(written, form, plain=True) == ()


@pytest.mark.parametrize("form", FORMATS)
def test_all_accounts_come_back_in_their_order(form):
    different = [
        msgspec.structs.replace(one, credentials=with_token(one.credentials, number))
        for number, one in enumerate(ACCOUNTS.values())
    ]
    report = read(exports.write(different, form, NOW))
    assert [one.credentials for one in report.accounts] == [one.credentials for one in different]


def with_token(credentials, number):
    if isinstance(credentials, ApiKeyCredentials):
        return credentials
    return msgspec.structs.replace(credentials, refresh_token=Secret("aor" + str(number) * 120))


def confirmed(endpoint="https://login.example.com/token"):
    foreign = {**EXTERNAL, "token_endpoint": endpoint}
    return account(ExternalIdpCredentials(**TOKENS, **foreign, confirmed=True))


def test_a_host_that_was_agreed_to_is_believed_in_a_sealed_file_only():
    data = exports.write([confirmed()], "kiro", NOW)
    assert read(data, trusted=True).accounts[0].credentials.confirmed
    assert [one.code for one in read(data).rejected] == ["R_ENDPOINT_NOT_ALLOWED"]


@pytest.mark.parametrize("endpoint", ["http://login.example.com/t", "https://10.0.0.5/t", "https://a.example:8443/t"])
def test_an_address_that_nobody_can_agree_to_is_refused_in_a_sealed_file_too(endpoint):
    data = exports.write([confirmed(endpoint)], "kiro", NOW)
    assert [one.code for one in read(data, trusted=True).rejected] == ["R_ENDPOINT_NOT_ALLOWED"]


HOSTILE = {
    "a region that is a host": (
        {"credentials": {"type": "idc", "refresh_token": "r", "auth_region": "x.evil/"}},
        "R_BAD_REGION",
    ),
    "no credentials": ({"name": "a"}, "R_UNREADABLE"),
    "credentials of no known kind": ({"credentials": {"type": "magic"}}, "R_UNREADABLE"),
    "no object": ("text", "R_NOT_AN_OBJECT"),
}


@pytest.mark.parametrize(("row", "code"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_bad_row_of_our_own_format_is_refused_and_the_others_go_on(row, code):
    document = json.loads(exports.write([ACCOUNTS["social"]], "kiro", NOW))
    document["accounts"].insert(0, row)
    report = read(json.dumps(document).encode())
    assert [(one.index, one.code) for one in report.rejected] == [(0, code)]
    assert len(report.accounts) == 1


def test_a_newer_version_is_told_as_one():
    document = json.loads(exports.write([], "kiro", NOW)) | {"version": 2}
    assert read(json.dumps(document).encode()).file_errors == ("E_NEWER",)


# -- sealed


@pytest.fixture(scope="module")
def closed():
    return sealed.seal(b"content " * 40, "correct horse")


def test_what_was_sealed_comes_back_with_the_passphrase(closed):
    assert sealed.is_sealed(closed)
    assert sealed.unseal(closed, "correct horse") == b"content " * 40
    assert b"content" not in closed


def test_the_parameters_are_in_the_header(closed):
    document = json.loads(closed)
    assert [document[name] for name in ("format", "kdf", "n", "r", "p")] == [
        "kiro-accounts-sealed",
        "scrypt",
        131072,
        8,
        1,
    ]


def test_the_same_content_never_looks_the_same(closed):
    assert json.loads(sealed.seal(b"content " * 40, "correct horse"))["data"] != json.loads(closed)["data"]


def test_another_passphrase_is_told_as_that(closed):
    with pytest.raises(sealed.WrongPassphrase):
        sealed.unseal(closed, "wrong horse")


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.99])
def test_a_cut_file_is_told_as_that_without_the_passphrase(closed, part):
    short = closed[: int(len(closed) * part)]
    assert sealed.is_sealed(short)
    with pytest.raises(sealed.CutFile):
        sealed.check(short)


CHANGES = {
    "the content": {"data": "AAAA"},
    "the salt": {"salt": "AAAAAAAAAAAAAAAAAAAAAA=="},
    "the proof": {"proof": "AAAA"},
    "the cost": {"n": 2},
    "a field of another type": {"n": "many"},
    "text that is not base64": {"data": "%%%"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_file_is_told_as_that_without_the_passphrase(closed, change):
    with pytest.raises(sealed.TamperedFile):
        sealed.check(json.dumps(json.loads(closed) | change).encode())


def forged(closed, **change):
    """Changed by somebody who knows the format, sum included."""
    file = msgspec.structs.replace(sealed.check(closed), **change)
    file = msgspec.structs.replace(file, sum=sealed._sum(file, file.proof, file.data))
    return msgspec.json.encode(file)


def test_a_change_with_a_new_sum_is_found_by_the_seal(closed):
    data = sealed.check(closed).data
    with pytest.raises(sealed.TamperedFile):
        sealed.unseal(forged(closed, data=bytes([data[0] ^ 1]) + data[1:]), "correct horse")
    with pytest.raises(sealed.TamperedFile):
        sealed.unseal(forged(closed, nonce=bytes(12)), "correct horse")


@pytest.mark.parametrize("change", [{"n": 2**24, "r": 64}, {"n": 3}, {"p": 0}, {"r": 1000}], ids=str)
def test_a_file_that_would_eat_the_memory_is_not_opened(closed, change):
    with pytest.raises(sealed.TamperedFile):
        sealed.unseal(forged(closed, **change), "correct horse")


def test_a_newer_file_is_told_as_one(closed):
    with pytest.raises(sealed.KiroError, match="newer"):
        sealed.check(forged(closed, version=2))
