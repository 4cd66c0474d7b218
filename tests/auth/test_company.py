"""A company's own provider: which hosts are asked, what is sent, and what comes of it."""

import base64
from datetime import timedelta
from urllib.parse import parse_qsl

import msgspec
import pytest

from kiro.auth.claims import claimed_email
from kiro.auth.company import company_flow, told_by_portal
from kiro.auth.company_hosts import host_of
from kiro.auth.credentials import ExternalIdpCredentials
from kiro.auth.http import HttpReply
from kiro.auth.social import PORTS, SocialPlace, portal_flow
from kiro.auth.steps import SignInFailed
from kiro.emulator.faults import HttpError
from kiro.errors import UpstreamBroken
from kiro.redaction import Secret
from support.signing import Signer

HOST = "login.company.example"
MICROSOFT = "https://login.microsoftonline.com/tenant/v2.0"


@pytest.fixture
def signer(session, clock, emulator):
    emulator.sign_in.portal_option = "external_idp"
    made = Signer(session, clock)

    async def walk(step, listener):
        async with session.get(step.url):
            pass

    made.on_page = walk
    return made


def flow(emulator, signer, *hosts):
    return portal_flow(SocialPlace(emulator.url, emulator.url, hosts), signer.now)


async def test_ends_with_an_account_that_can_be_refreshed_at_the_company(emulator, signer):
    account = await signer.sign_in(flow(emulator, signer))
    credentials = account.credentials
    assert isinstance(credentials, ExternalIdpCredentials)
    assert credentials.token_endpoint == f"https://{HOST}/tenant/oauth2/v2.0/token"
    assert credentials.scopes == "api://kiro/codewhisperer:conversations openid offline_access"
    assert credentials.expires_at == signer.now() + timedelta(seconds=3600)
    assert credentials.confirmed
    assert emulator.people.holder(credentials.refresh_token.reveal()).kind == "external_idp"


async def test_the_page_is_asked_as_the_portal_said_and_comes_back_to_another_port_of_its_list(emulator, signer):
    await signer.sign_in(flow(emulator, signer))
    asked = next(one for one in emulator.requests if one.path.endswith("/authorize")).query
    first, second = (
        dict(parse_qsl(page.url.partition("?")[2]))["redirect_uri"].split(":")[2].partition("/")[0]
        for page in signer.pages
    )
    assert {first, second} <= set(map(str, PORTS))
    assert first != second
    assert asked["login_hint"] == "sue@company.example"
    assert asked["audience"] == "kiro"
    assert (asked["response_mode"], asked["code_challenge_method"]) == ("query", "S256")


async def test_the_code_is_exchanged_by_a_form_without_a_secret(emulator, signer):
    await signer.sign_in(flow(emulator, signer))
    ask = signer.asks[-1]
    form = dict(parse_qsl(ask.body.decode()))
    assert ask.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert set(form) == {"grant_type", "code", "client_id", "redirect_uri", "code_verifier"}


# -- which hosts


async def test_a_host_that_is_not_known_is_asked_about_once(emulator, signer):
    await signer.sign_in(flow(emulator, signer))
    assert signer.hosts == [HOST]


async def test_a_host_that_is_allowed_is_not_asked_about(emulator, signer):
    await signer.sign_in(flow(emulator, signer, HOST))
    assert signer.hosts == []


async def test_microsoft_is_not_asked_about(emulator, signer):
    emulator.sign_in.company.issuer = MICROSOFT
    await signer.sign_in(flow(emulator, signer))
    assert signer.hosts == []


async def test_a_no_ends_it_before_anything_is_sent_there(emulator, signer):
    signer.agrees = False
    with pytest.raises(SignInFailed, match="was not confirmed") as failed:
        await signer.sign_in(flow(emulator, signer))
    assert f"auth.external_hosts {HOST}" in failed.value.hint
    assert signer.asks == []


async def test_a_token_service_elsewhere_is_asked_about_too(emulator, signer):
    company = told_by_portal(emulator.sign_in.company.for_portal())
    steps = company_flow(company, PORTS, signer.now, base_url=None, extra_hosts=())
    assert next(steps).host == HOST
    discovery = steps.send(True)
    assert discovery.url == f"https://{HOST}/tenant/v2.0/.well-known/openid-configuration"
    document = {"authorization_endpoint": f"https://{HOST}/a", "token_endpoint": "https://tokens.elsewhere.example/t"}
    reply = msgspec.json.encode(document)
    assert steps.send(HttpReply(200, {}, reply)).host == "tokens.elsewhere.example"


ADDRESSES = {
    "https://login.company.example/t": True,
    "https://login.company.example:443/t": True,
    "http://login.company.example/t": False,
    "https://login.company.example:8443/t": False,
    "https://user@login.company.example/t": False,
    "https://192.0.2.7/t": False,
    "https://[2001:db8::1]/t": False,
    "https://3221225991/t": False,
    "https://0xc0.0x0.0x2.0x7/t": False,
    "https://192.0.519/t": False,
    "https://localhost/t": False,
    "https://login.company.example./t": False,
    "https://login.\u0441ompany.example/t": False,
    "https://login.company.example\\@evil.example/t": False,
    "https://login.company.example\t/t": False,
    "https://login.company.example/t ": False,
    "file:///etc/passwd": False,
    "nonsense": False,
    "https://[broken/t": False,
}


@pytest.mark.parametrize(("url", "good"), ADDRESSES.items(), ids=ADDRESSES.keys())
def test_an_address_has_to_be_https_with_a_name(url, good):
    if good:
        assert host_of(url) == "login.company.example"
    else:
        with pytest.raises(SignInFailed, match="does not go to"):
            host_of(url)


# -- what can go wrong


async def test_microsoft_works_without_discovery(emulator, signer):
    emulator.sign_in.company.issuer = MICROSOFT
    emulator.sign_in.company.discovery_status = 404
    account = await signer.sign_in(flow(emulator, signer))
    assert account.credentials.token_endpoint == "https://login.microsoftonline.com/tenant/oauth2/v2.0/token"


async def test_others_do_not(emulator, signer):
    emulator.sign_in.company.discovery_status = 404
    with pytest.raises(SignInFailed, match="does not tell how to sign in there"):
        await signer.sign_in(flow(emulator, signer))


async def test_a_provider_with_trouble_is_told(emulator, signer):
    emulator.faults.add(HttpError(503), operation="register")
    with pytest.raises(SignInFailed, match="HTTP 503") as failed:
        await signer.sign_in(flow(emulator, signer))
    assert failed.value.hint


async def test_a_token_service_with_trouble_is_told(emulator, signer):
    emulator.faults.add(HttpError(500), operation="refresh")
    with pytest.raises(UpstreamBroken) as failed:
        await signer.sign_in(flow(emulator, signer))
    assert failed.value.hint


ERRORS = (
    "access_denied",
    "invalid_scope",
    "server_error",
    "consent_required",
    "interaction_required",
    "login_required",
)


@pytest.mark.parametrize("code", ERRORS)
async def test_an_error_of_its_page_is_told_with_a_hint(emulator, signer, code):
    emulator.sign_in.company.authorize_error = code
    with pytest.raises(SignInFailed) as failed:
        await signer.sign_in(flow(emulator, signer))
    assert failed.value.reason == code
    assert failed.value.hint


@pytest.mark.parametrize("code", ["invalid_grant", "invalid_client", "interaction_required", "made_up_by_them"])
async def test_an_error_of_its_token_service_is_told_with_a_hint(emulator, signer, code):
    emulator.sign_in.company.token_error = code
    with pytest.raises(SignInFailed) as failed:
        await signer.sign_in(flow(emulator, signer))
    assert failed.value.reason == code
    assert failed.value.hint
    assert "says no" not in failed.value.full_text()


@pytest.mark.parametrize("missing", ["issuer_url", "client_id"])
def test_a_portal_that_names_no_company_is_told(emulator, missing):
    query = {name: text for name, text in emulator.sign_in.company.for_portal().items() if name != missing}
    with pytest.raises(SignInFailed, match="did not name"):
        told_by_portal(query)


# -- whose it is


def jwt(claims):
    middle = base64.urlsafe_b64encode(msgspec.json.encode(claims)).decode().rstrip("=")
    return Secret(f"eyJhbGciOiJub25lIn0.{middle}.x")


CLAIMS = {
    "email": (jwt({"email": "a@b.example", "upn": "c@d.example"}), "a@b.example"),
    "the name people sign in with": (jwt({"preferred_username": "a@b.example"}), "a@b.example"),
    "a name that is no address": (jwt({"upn": "sue"}), None),
    "no object": (jwt(["email"]), None),
    "no JSON": (Secret("a.b.c"), None),
    "no web token": (Secret("aoa123"), None),
    "no token": (None, None),
}


@pytest.mark.parametrize(("token", "email"), CLAIMS.values(), ids=CLAIMS.keys())
def test_the_email_a_token_claims(token, email):
    assert claimed_email(token) == email
