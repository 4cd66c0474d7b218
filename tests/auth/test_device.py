"""Signing in by a code: Builder ID and Identity Center, and all that can go wrong before it is confirmed."""

from datetime import timedelta

import msgspec
import pytest

from kiro.auth.credentials import BuilderIdCredentials, IdcCredentials
from kiro.auth.device import Done, Pending, Unreadable, device_flow, read_code, read_poll
from kiro.auth.http import HttpReply
from kiro.auth.oidc import place
from kiro.auth.steps import SignInFailed
from kiro.emulator.faults import HttpError
from kiro.errors import NetworkFailed, UpstreamBroken, UsageError
from support.signing import Signer

COMPANY = "https://d-1234567890.awsapps.com/start"


@pytest.fixture
def signer(session, clock):
    return Signer(session, clock)


def builder_id(emulator, signer):
    return device_flow(place(None, None, emulator.url), signer.now)


async def test_builder_id_ends_with_an_account_that_can_be_refreshed(emulator, signer):
    account = await signer.sign_in(builder_id(emulator, signer))
    credentials = account.credentials
    assert isinstance(credentials, BuilderIdCredentials)
    assert credentials.client is not None
    assert credentials.client.expires_at > signer.now() + timedelta(days=80)
    assert credentials.expires_at == signer.now() + timedelta(seconds=3600)
    assert emulator.people.owner(credentials.access_token.reveal()).kind == "builder_id"


async def test_identity_center_keeps_start_url_and_region(emulator, signer):
    account = await signer.sign_in(device_flow(place(COMPANY + "/#/", "EU-west-1", emulator.url), signer.now))
    assert isinstance(account.credentials, IdcCredentials)
    assert (account.start_url, account.auth_region, account.api_region) == (COMPANY, "eu-west-1", None)


async def test_the_client_is_registered_under_our_own_name(emulator, signer):
    await signer.sign_in(builder_id(emulator, signer))
    posted = msgspec.json.decode(signer.asks[0].body)
    assert posted["clientName"] == "kiro-proxy"
    assert not [scope for scope in posted["scopes"] if not scope.startswith("codewhisperer:")]


async def test_one_interval_passes_before_each_poll(emulator, signer):
    await signer.sign_in(builder_id(emulator, signer))
    assert signer.waits == [1.0, 1.0]


async def test_slow_down_widens_the_interval_by_five_seconds_for_good(emulator, signer):
    emulator.sign_in.slow_downs = 2
    await signer.sign_in(builder_id(emulator, signer))
    assert signer.waits == [1.0, 6.0, 11.0, 11.0]


async def test_a_code_that_nobody_confirms_expires(emulator, signer):
    emulator.sign_in._polls = None
    with pytest.raises(SignInFailed, match="expired") as failed:
        await signer.sign_in(builder_id(emulator, signer))
    assert failed.value.reason == "expired_token"
    assert sum(signer.waits) == 599.0


async def test_a_refusal_in_the_browser_ends_the_sign_in(emulator, signer):
    signer.on_code = lambda code: emulator.sign_in.deny(code.user_code)
    with pytest.raises(SignInFailed, match="refused in the browser"):
        await signer.sign_in(builder_id(emulator, signer))


async def test_four_polls_may_fail_in_a_row(emulator, signer):
    signer.unreachable = 4
    await signer.sign_in(builder_id(emulator, signer))


async def test_five_failed_polls_in_a_row_end_the_sign_in(emulator, signer):
    signer.unreachable = 5
    with pytest.raises(NetworkFailed):
        await signer.sign_in(builder_id(emulator, signer))


async def test_trouble_of_the_service_while_polling_is_waited_out(emulator, signer):
    emulator.faults.add(HttpError(500), HttpError(502, raw="<html>"), times=3, operation="refresh")
    await signer.sign_in(builder_id(emulator, signer))
    assert len(signer.waits) == 5


async def test_a_registration_that_is_refused_says_so(emulator, signer):
    emulator.faults.add(HttpError(400, shape="InvalidRequestException"), operation="register")
    with pytest.raises(SignInFailed, match="registration was refused"):
        await signer.sign_in(builder_id(emulator, signer))


async def test_an_unknown_start_url_is_told_as_one(emulator, signer):
    emulator.faults.add(times=1, operation="register")
    emulator.faults.add(
        HttpError(400, shape="InvalidRequestException", message="Invalid start url provided"), operation="register"
    )
    with pytest.raises(SignInFailed) as failed:
        await signer.sign_in(device_flow(place(COMPANY, "us-east-1", emulator.url), signer.now))
    assert failed.value.reason == "start_url"


def reply(status, document):
    return HttpReply(status, {}, document if isinstance(document, bytes) else msgspec.json.encode(document))


POLLS = {
    "pending by its OAuth name": (400, {"error": "authorization_pending"}, Pending),
    "pending by its exception name": (400, {"__type": "com.aws#AuthorizationPendingException"}, Pending),
    "pending with status 200": (200, {"error": "authorization_pending"}, Pending),
    "slow down by its exception name": (400, {"__type": "SlowDownException"}, Pending),
    "throttled without a body": (429, b"", Pending),
    "a page of a proxy": (200, b"<html>", Unreadable),
    "a gateway's error": (502, b"<html>", Unreadable),
    "a body that is no JSON": (403, b"nope", Unreadable),
    "tokens": (200, {"accessToken": "a", "refreshToken": "r"}, Done),
}


@pytest.mark.parametrize(("status", "document", "kind"), POLLS.values(), ids=POLLS.keys())
def test_what_a_poll_means(status, document, kind):
    assert isinstance(read_poll(reply(status, document)), kind)


@pytest.mark.parametrize("error", ["access_denied", "expired_token", "invalid_grant", "invalid_client", "made_up"])
def test_other_errors_of_a_poll_are_final(error):
    with pytest.raises(SignInFailed) as failed:
        read_poll(reply(400, {"error": error, "error_description": "secret-text"}))
    assert failed.value.reason == error
    assert "secret-text" not in failed.value.full_text()


LINKS = {
    "https of AWS": ("https://device.sso.us-east-1.amazonaws.com/?user_code=A", True),
    "https of a portal": ("https://d-1.awsapps.com/start/#/device?user_code=A", True),
    "plain http": ("http://device.sso.us-east-1.amazonaws.com/", False),
    "another host": ("https://evil.example/amazonaws.com", False),
    "a host that only ends alike": ("https://evilamazonaws.com/", False),
    "a user name before the host": ("https://device.sso.us-east-1.amazonaws.com@evil.example/", False),
}


@pytest.mark.parametrize(("link", "shown"), LINKS.values(), ids=LINKS.keys())
async def test_only_links_of_aws_are_shown(link, shown, clock):
    flow = device_flow(place(None, None), lambda: None)
    flow.send(None)
    flow.send(reply(200, {"clientId": "i", "clientSecret": "s", "clientSecretExpiresAt": 0}))
    code = {"deviceCode": "d", "userCode": "A", "verificationUri": link, "expiresIn": 600, "interval": 1}
    if not shown:
        with pytest.raises(SignInFailed, match="not one of its own"):
            flow.send(reply(200, code))
    else:
        assert read_code(reply(200, code), lambda _: True).shown.link == link


def test_a_code_that_cannot_be_read_is_told():
    with pytest.raises(UpstreamBroken):
        read_code(reply(200, {"userCode": "A"}), lambda _: True)


def test_a_code_shows_nothing_of_itself():
    code = read_code(
        reply(200, {"deviceCode": "dddd", "userCode": "UUUU", "verificationUri": "https://x.aws"}), lambda _: True
    )
    assert "dddd" not in repr(code)
    assert "UUUU" not in repr(code)


PLACES = {
    "a company needs its region": (COMPANY, None, "--start-url needs --region"),
    "a region has to be one": (COMPANY, "evil.example/", "is no region"),
    "a start URL is https": ("http://d-1.awsapps.com/start", "us-east-1", "cannot be one"),
    "a start URL has a host": ("https://", "us-east-1", "cannot be one"),
    "Builder ID has one region": (None, "eu-west-1", "lives in us-east-1"),
}


@pytest.mark.parametrize(("start_url", "region", "message"), PLACES.values(), ids=PLACES.keys())
def test_a_place_that_cannot_be_one_is_refused(start_url, region, message):
    with pytest.raises(UsageError, match=message):
        place(start_url, region)


def test_the_view_url_is_builder_id_however_it_is_written():
    assert place("HTTPS://View.awsapps.com/start/#/", "eu-west-1").is_builder_id
