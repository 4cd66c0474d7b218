"""Builder ID by the cookie of AWS's portal."""

import msgspec
import pytest

from kiro.auth.credentials import BuilderIdCredentials
from kiro.auth.http import HttpReply
from kiro.auth.oidc import place
from kiro.auth.portal_cookie import checked_cookie, cookie_flow
from kiro.auth.steps import SignInFailed
from kiro.emulator.faults import HttpError
from kiro.errors import UpstreamBroken, UsageError
from kiro.redaction import Secret
from support.signing import Signer


@pytest.fixture
def signer(session, clock):
    return Signer(session, clock)


def by_cookie(emulator, signer, text):
    return signer.sign_in(cookie_flow(Secret(text), place(None, None, emulator.url), signer.now))


async def test_the_cookie_confirms_our_own_code(emulator, signer):
    emulator.sign_in._polls = None
    account = await by_cookie(emulator, signer, emulator.portal_cookie.cookie)
    assert isinstance(account.credentials, BuilderIdCredentials)
    assert signer.codes == []
    paths = [one.path for one in emulator.requests][::-1]
    assert paths == [
        "/token/whoAmI",
        "/client/register",
        "/device_authorization",
        "/session/device",
        "/device_authorization/accept_user_code",
        "/device_authorization/associate_token",
        "/token",
    ]


async def test_the_cookie_goes_to_the_portal_only(emulator, signer):
    await by_cookie(emulator, signer, emulator.portal_cookie.cookie)
    cookie = emulator.portal_cookie.cookie.encode()
    held = [one.path for one in emulator.requests if cookie in msgspec.json.encode([one.headers, one.body.decode()])]
    assert sorted(held) == ["/session/device", "/token/whoAmI"]


async def test_a_dead_cookie_is_told_before_anything_else_is_asked(emulator, signer):
    with pytest.raises(SignInFailed, match="does not accept this cookie") as failed:
        await by_cookie(emulator, signer, "dead")
    assert "kiro login device" in failed.value.hint
    assert len(signer.asks) == 1


@pytest.mark.parametrize("passed", range(6))
async def test_trouble_at_any_step_is_told(emulator, signer, passed):
    if passed:
        emulator.faults.add(times=passed, operation="register")
    emulator.faults.add(HttpError(500), operation="register")
    with pytest.raises(UpstreamBroken) as failed:
        await by_cookie(emulator, signer, emulator.portal_cookie.cookie)
    assert failed.value.hint


async def test_a_code_that_stays_unconfirmed_is_given_up_after_two_minutes(emulator, signer):
    emulator.sign_in._polls = None
    emulator.portal_cookie._sign_in = type(emulator.sign_in)(emulator.people, lambda: 0.0)
    with pytest.raises(SignInFailed, match="expired"):
        await by_cookie(emulator, signer, emulator.portal_cookie.cookie)
    assert sum(signer.waits) <= 120


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"token":7}'])
def test_an_answer_that_cannot_be_read_is_told(body):
    steps = cookie_flow(Secret("c"), place(None, None), lambda: None)
    next(steps)
    steps.send(HttpReply(200, {}, b"{}"))
    steps.send(HttpReply(200, {}, b'{"clientId":"i","clientSecret":"s"}'))
    code = {
        "deviceCode": "d",
        "userCode": "u",
        "verificationUri": "https://device.sso.us-east-1.amazonaws.com/",
        "expiresIn": 600,
        "interval": 1,
    }
    steps.send(HttpReply(200, {}, msgspec.json.encode(code)))
    with pytest.raises(UpstreamBroken, match="cannot read"):
        steps.send(HttpReply(200, {}, body))


@pytest.mark.parametrize("text", ["abc", " abc\n", "x-amz-sso_authn=abc", "x-amz-sso_authn=abc;"])
def test_the_value_is_taken_with_or_without_its_name(text):
    assert checked_cookie(text).reveal() == "abc"


@pytest.mark.parametrize("text", ["", "abc...def", "a=b; c=d"])
def test_what_cannot_be_the_cookie_is_refused(text):
    with pytest.raises(UsageError):
        checked_cookie(text)
