"""Whatever an account is like, a file of it brings it back, and what a format has no place for is told."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro.auth import exports
from kiro.auth.credentials import (
    BUILDER_ID_START_URL,
    ApiKeyCredentials,
    BuilderIdCredentials,
    ExternalIdpCredentials,
    IdcCredentials,
    OidcClient,
    SocialCredentials,
    kind_of,
)
from kiro.auth.formats import read_import
from kiro.auth.records import API_REGIONS, ImportedAccount
from kiro.redaction import Secret

NOW = datetime(2026, 11, 1, tzinfo=UTC)
WHOLE = ("kiro", "kiro-rs", "account-manager")

words = st.text("abcXYZ019-_", min_size=1, max_size=20)
tokens = st.text("abcXYZ019+/=_-:.", min_size=30, max_size=200).filter(lambda text: ".." not in text).map(Secret)
moments = st.integers(1_800_000_000, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
api_regions = st.sampled_from(sorted(API_REGIONS))
regions = st.sampled_from(["us-east-1", "eu-west-1", "ap-southeast-2", "cn-north-1"])
scopes = st.lists(words.map(lambda word: f"codewhisperer:{word}"), max_size=3).map(tuple)
arns = api_regions.map(lambda region: f"arn:aws:codewhisperer:{region}:111122223333:profile/ABC")
urls = words.map(lambda word: f"https://{word.lower()}.awsapps.com/start")
clients = st.builds(OidcClient, id=words, secret=tokens, expires_at=st.none() | moments)
access = st.fixed_dictionaries({"access_token": tokens, "expires_at": moments}) | st.just({})
proxies = st.sampled_from([None, "direct", "http://u:p%40@10.0.0.1:3128", "socks5://[::1]:1080", "https://p.example"])


@st.composite
def people(draw):
    """What an account has beside its sign-in."""
    proxy = draw(proxies)
    return {
        "index": 0,
        "name": draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)),
        "email": draw(st.none() | words.map(lambda word: f"{word}@example.com")),
        "user_id": draw(st.none() | words),
        "machine_id": draw(st.text("0123456789abcdef", min_size=64, max_size=64)),
        "priority": draw(st.integers(-100, 100)),
        "enabled": draw(st.booleans()),
        "flavour": draw(st.sampled_from(["ide", "cli", "runtime"])),
        "proxy": Secret(proxy) if proxy else None,
    }


@st.composite
def socials(draw):
    provider = draw(st.sampled_from(["Google", "Github"]))
    credentials = SocialCredentials(
        **draw(access), refresh_token=draw(tokens), profile_arn=draw(st.none() | arns), provider=provider
    )
    more = {"provider": provider, "auth_region": "us-east-1", "api_region": draw(api_regions)}
    return ImportedAccount(credentials=credentials, **more, **draw(people()))


@st.composite
def builder_ids(draw):
    credentials = BuilderIdCredentials(
        **draw(access), refresh_token=draw(tokens), client=draw(clients), scopes=draw(scopes)
    )
    more = {"provider": "BuilderId", "auth_region": "us-east-1", "start_url": BUILDER_ID_START_URL}
    return ImportedAccount(credentials=credentials, **more, api_region=draw(api_regions), **draw(people()))


@st.composite
def idcs(draw):
    url, region = draw(st.none() | urls), draw(regions)
    credentials = IdcCredentials(
        **draw(access),
        refresh_token=draw(tokens),
        client=draw(clients),
        auth_region=region,
        start_url=url,
        profile_arn=draw(st.none() | arns),
        scopes=draw(scopes),
    )
    provider = draw(st.sampled_from(["Enterprise", "AWSIdC", "IAM_SSO", "Internal", None]))
    more = {"provider": provider, "auth_region": region, "start_url": url, "api_region": draw(api_regions)}
    return ImportedAccount(credentials=credentials, **more, **draw(people()))


@st.composite
def externals(draw):
    tenant = f"https://login.microsoftonline.com/{draw(words)}"
    credentials = ExternalIdpCredentials(
        **draw(access),
        refresh_token=draw(tokens),
        client_id=draw(words),
        token_endpoint=f"{tenant}/oauth2/v2.0/token",
        issuer_url=draw(st.none() | st.just(f"{tenant}/v2.0")),
        scopes=draw(st.none() | words),
        profile_arn=draw(st.none() | arns),
    )
    return ImportedAccount(
        credentials=credentials, provider="ExternalIdp", api_region=draw(api_regions), **draw(people())
    )


keys = st.builds(
    lambda key, region, person: ImportedAccount(
        credentials=ApiKeyCredentials(api_key=Secret(f"ksk_{key}")), api_region=region, **person
    ),
    words,
    st.none() | api_regions,
    people(),
)
BY_KIND = {
    "social": socials(),
    "builder_id": builder_ids(),
    "idc": idcs(),
    "external_idp": externals(),
    "api_key": keys,
}
BLANK = {
    "the name": {"name": None},
    "the user id": {"user_id": None},
    "the machine id": {"machine_id": None},
    "the priority": {"priority": None},
    "that it is disabled": {"enabled": True},
    "the API flavour": {"flavour": None},
    "the proxy": {"proxy": None},
    "the region where Kiro answers": {"api_region": None},
}


def brought_back(one, form):
    report = read_import(exports.write([one], form, NOW), name="f", siblings=lambda _: None, now=NOW)
    assert report.rejected == ()
    (account,) = report.accounts
    return account


@pytest.mark.parametrize("form", WHOLE)
@given(one=st.one_of(*BY_KIND.values()))
def test_an_account_is_the_same_but_for_what_is_told(form, one):
    expected = one
    for lost in exports.losses(one, form, plain=True):
        expected = msgspec.structs.replace(expected, **BLANK[lost])
    assert brought_back(one, form) == expected


@pytest.mark.parametrize("form", sorted(exports.FORMATS.keys() - set(WHOLE)))
@given(data=st.data())
def test_a_lean_format_keeps_who_signs_in_and_tells_the_rest(form, data):
    known = [strategy for kind, strategy in BY_KIND.items() if kind in exports.FORMATS[form].kinds]
    one = data.draw(st.one_of(known))
    account = brought_back(one, form)
    assert kind_of(account.credentials) == kind_of(one.credentials)
    assert account.credentials.refresh_token == one.credentials.refresh_token
    assert getattr(account.credentials, "profile_arn", None) == getattr(one.credentials, "profile_arn", None)
    assert account.auth_region == one.auth_region
    if not isinstance(one.credentials, SocialCredentials):
        assert account.credentials.client.id == one.credentials.client.id
        assert account.start_url == one.start_url
    told = exports.losses(one, form, plain=True)
    for words, fields in BLANK.items():
        for name in fields:
            kept = getattr(account, name) == getattr(one, name)
            default = getattr(one, name) in (None, 0, "ide", "us-east-1")
            assert kept or default or words in told


def test_nothing_is_lost_under_a_passphrase_in_our_own_format():
    foreign = ExternalIdpCredentials(
        refresh_token=Secret("r"), client_id="c", token_endpoint="https://login.example.com/t", confirmed=True
    )
    one = ImportedAccount(index=0, credentials=foreign)
    assert exports.losses(one, "kiro", plain=False) == ()
    assert exports.losses(one, "kiro", plain=True) == ("that you agreed to its company's token service",)
