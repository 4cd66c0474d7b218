"""Google and GitHub: through the portal in a browser, or by a code; and AWS in a browser."""

import socket

import aiohttp
import msgspec
import pytest

from kiro.auth.credentials import BuilderIdCredentials, IdcCredentials, SocialCredentials
from kiro.auth.device import Done, Pending, Unreadable
from kiro.auth.http import HttpReply
from kiro.auth.loopback import Loopback
from kiro.auth.oidc import place
from kiro.auth.oidc_pkce import pkce_flow
from kiro.auth.pkce import Pkce
from kiro.auth.social import PORTS, SocialPlace, _trusted, portal_flow, read_social_poll, social_device_flow
from kiro.auth.steps import Browse, SignInFailed
from kiro.emulator.accounts import SOCIAL_ARN
from kiro.emulator.faults import HttpError
from kiro.errors import KiroError, NetworkFailed
from kiro.redaction import Secret
from support.signing import Signer

COMPANY = "https://d-1234567890.awsapps.com/start"


@pytest.fixture
def signer(session, clock):
    made = Signer(session, clock)

    async def walk(step, listener):
        """The browser: goes where it is sent until it is sent nowhere any more."""
        async with session.get(step.url) as response:
            made.ended_at = str(response.url)

    made.on_page = walk
    return made


def portal(emulator, signer):
    return portal_flow(SocialPlace(emulator.url, emulator.url), signer.now)


@pytest.mark.parametrize(("option", "provider"), [("google", "Google"), ("github", "Github")])
async def test_the_portal_ends_with_an_account_of_what_was_chosen_there(emulator, signer, option, provider):
    emulator.sign_in.portal_option = option
    account = await signer.sign_in(portal(emulator, signer))
    assert isinstance(account.credentials, SocialCredentials)
    assert (account.provider, account.credentials.profile_arn) == (provider, SOCIAL_ARN)
    assert emulator.people.owner(account.credentials.access_token.reveal()) is not None
    assert "auth_status=success" in signer.ended_at


async def test_the_exchange_repeats_the_callback_with_the_choice_in_it(emulator, signer):
    await signer.sign_in(portal(emulator, signer))
    asked = next(one for one in emulator.requests if "redirect_from" in one.query and "state" in one.query)
    assert asked.query["redirect_uri"].removeprefix("http://localhost:") in map(str, PORTS)
    posted = msgspec.json.decode(signer.asks[-1].body)
    assert posted["redirect_uri"] == asked.query["redirect_uri"] + "/oauth/callback?login_option=google"
    assert set(posted) == {"code", "code_verifier", "redirect_uri"}


async def test_builder_id_chosen_on_the_portal_goes_on_with_aws(emulator, signer):
    emulator.sign_in.portal_option = "builderid"
    account = await signer.sign_in(portal(emulator, signer))
    assert isinstance(account.credentials, BuilderIdCredentials)


async def test_a_company_chosen_on_the_portal_goes_on_with_its_start_url(emulator, signer):
    emulator.sign_in.portal_option = "awsidc"
    account = await signer.sign_in(portal(emulator, signer))
    assert account.credentials.start_url == COMPANY


async def test_a_choice_that_kiro_cannot_finish_is_told(emulator, signer):
    emulator.sign_in.portal_option = "fingerprint"
    with pytest.raises(SignInFailed, match="cannot finish"):
        await signer.sign_in(portal(emulator, signer))


async def test_a_company_that_cannot_be_one_is_told(emulator, signer):
    emulator.sign_in.portal_option = "awsidc"

    async def walk(step, listener):
        listener.offer(
            f"/oauth/callback?state={step.state.reveal()}&login_option=awsidc&issuer_url=https://x.y/&idc_region=../"
        )

    signer.on_page = walk
    with pytest.raises(SignInFailed, match="cannot be one") as failed:
        await signer.sign_in(portal(emulator, signer))
    assert "kiro login sso" in failed.value.hint


async def test_a_refusal_on_the_portal_is_told_and_shown_in_the_browser(emulator, signer):
    emulator.sign_in.portal_error = "access_denied"
    with pytest.raises(SignInFailed, match="refused in the browser"):
        await signer.sign_in(portal(emulator, signer))
    assert "auth_status=error" in signer.ended_at


async def test_an_error_of_the_portal_that_is_not_known_is_not_quoted(emulator, signer):
    emulator.sign_in.portal_error = "<script>"
    with pytest.raises(SignInFailed) as failed:
        await signer.sign_in(portal(emulator, signer))
    assert "script" not in failed.value.full_text()


async def test_a_code_that_is_refused_is_not_sent_again(emulator, signer):
    emulator.faults.add(HttpError(500), operation="refresh")
    with pytest.raises(KiroError):
        await signer.sign_in(portal(emulator, signer))
    assert len(signer.asks) == 1


@pytest.mark.parametrize(("lost", "signed_in"), [(2, True), (3, False)])
async def test_an_exchange_without_any_answer_is_tried_three_times(emulator, signer, lost, signed_in):
    send, left = signer.send, [lost]

    async def unreliable(ask):
        if left[0]:
            left[0] -= 1
            raise NetworkFailed("No way there.")
        return await send(ask)

    signer.send = unreliable
    if signed_in:
        await signer.sign_in(portal(emulator, signer))
    else:
        with pytest.raises(NetworkFailed):
            await signer.sign_in(portal(emulator, signer))


async def test_a_browser_that_never_comes_back_ends_the_sign_in(emulator, signer):
    async def stay(step, listener):
        pass

    signer.on_page = stay
    with pytest.raises(SignInFailed) as failed:
        await signer.sign_in(portal(emulator, signer), browser_timeout_s=0.05)
    assert failed.value.reason == "timeout"


async def test_identity_center_in_the_browser(emulator, signer):
    account = await signer.sign_in(pkce_flow(place(COMPANY, "eu-west-1", emulator.url), signer.now))
    assert isinstance(account.credentials, IdcCredentials)
    assert account.credentials.client is not None
    query = next(one for one in emulator.requests if one.path == "/authorize").query
    assert query["redirect_uri"].startswith("http://127.0.0.1:")
    assert query["scopes"].count(",") == 4
    assert "/oauth/callback" in signer.ended_at


# -- by code


@pytest.mark.parametrize("provider", ["Google", "Github"])
async def test_a_code_ends_with_an_account(emulator, signer, provider):
    account = await signer.sign_in(social_device_flow(provider, SocialPlace(emulator.url), signer.now))
    assert (account.provider, account.credentials.profile_arn) == (provider, SOCIAL_ARN)
    assert signer.waits == [1.0, 1.0]


async def test_slow_down_widens_the_interval_here_too(emulator, signer):
    emulator.sign_in.slow_downs = 1
    await signer.sign_in(social_device_flow("Google", SocialPlace(emulator.url), signer.now))
    assert signer.waits == [1.0, 6.0, 6.0]


async def test_a_refused_code_is_told(emulator, signer):
    signer.on_code = lambda code: emulator.sign_in.deny(code.user_code)
    with pytest.raises(SignInFailed, match="refused"):
        await signer.sign_in(social_device_flow("Google", SocialPlace(emulator.url), signer.now))


def reply(status, document):
    return HttpReply(status, {}, document if isinstance(document, bytes) else msgspec.json.encode(document))


POLLS = {
    "pending": (200, {"status": "authorization_pending", "accessToken": None}, Pending),
    "a word that is not known": (200, {"status": "thinking"}, Pending),
    "tokens under another word": (200, {"status": "success", "accessToken": "a"}, Done),
    "a page": (502, b"<html>", Unreadable),
}


@pytest.mark.parametrize(("status", "document", "kind"), POLLS.values(), ids=POLLS.keys())
def test_what_a_poll_means(status, document, kind):
    assert isinstance(read_social_poll(reply(status, document)), kind)


@pytest.mark.parametrize("word", ["expired_token", "invalid_token", "access_denied"])
def test_a_dead_code_ends_the_sign_in(word):
    with pytest.raises(SignInFailed):
        read_social_poll(reply(200, {"status": word}))


LINKS = {
    "https://app.kiro.dev/account/device?user_code=A": True,
    "https://app.kiro.dev.evil.example/": False,
    "http://app.kiro.dev/account/device": False,
    "https://app.kiro.dev:8443/": False,
    "https://app.kiro.dev@evil.example/": False,
}


@pytest.mark.parametrize(("link", "trusted"), LINKS.items(), ids=LINKS.keys())
def test_only_the_portal_is_shown(link, trusted):
    assert _trusted(link, SocialPlace()) is trusted


# -- the listener


STEP = Browse("https://app.kiro.dev/signin?state=right", Secret("right"))
REQUESTS = {
    "another state": ("GET", "/oauth/callback?state=wrong&code=c", 400),
    "no state": ("GET", "/oauth/callback?code=c", 400),
    "the browser's icon": ("GET", "/favicon.ico", 404),
    "another method": ("POST", "/oauth/callback?state=right&code=c", 405),
}


@pytest.mark.parametrize(("method", "target", "status"), REQUESTS.values(), ids=REQUESTS.keys())
async def test_is_refused_and_the_sign_in_goes_on(session, method, target, status):
    async with Loopback() as listener:
        listener.expect(STEP)
        base = f"http://127.0.0.1:{listener.port}"
        async with session.request(method, base + target) as response:
            assert response.status == status
        async with session.get(base + "/oauth/callback?state=right&code=c") as response:
            assert response.status == 200
            assert response.headers["Cache-Control"] == "no-store"
        assert (await listener.answer(1)).query["code"] == "c"


async def test_a_second_callback_finds_nothing(session):
    async with Loopback() as listener:
        listener.expect(STEP)
        target = f"http://127.0.0.1:{listener.port}/signin/callback?state=right&code="
        for code, status in (("first", 200), ("second", 404)):
            async with session.get(target + code) as response:
                assert response.status == status
        assert (await listener.answer(1)).query["code"] == "first"


async def test_the_start_address_leads_on_and_tells_nothing_itself(session):
    async with Loopback() as listener:
        listener.expect(STEP)
        assert "right" not in listener.start_url
        async with session.get(listener.start_url.replace("localhost", "127.0.0.1"), allow_redirects=False) as response:
            assert response.headers["Location"] == STEP.url


async def test_a_pasted_address_does_what_the_browser_would_have_done():
    async with Loopback() as listener:
        listener.expect(STEP)
        assert not listener.offer("http://localhost:3128/oauth/callback?state=wrong&code=c")
        assert not listener.offer("nonsense")
        assert listener.offer(" http://localhost:3128/oauth/callback?state=right&code=c\n")
        assert (await listener.answer(1)).query["code"] == "c"


async def test_only_this_computer_can_reach_it():
    async with Loopback() as listener:
        assert [sock.getsockname()[0] for sock in listener._server.sockets] == ["127.0.0.1"]


async def test_the_first_free_port_is_taken_and_none_free_is_told():
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
            one.listen()
        taken = (first.getsockname()[1], second.getsockname()[1])
        with pytest.raises(KiroError, match="is free"):
            async with Loopback(taken):
                pass
        second.close()
        async with Loopback(taken) as listener:
            assert listener.port == taken[1]


async def test_a_request_without_an_end_is_dropped():
    async with Loopback() as listener:
        listener.expect(STEP)
        with socket.create_connection(("127.0.0.1", listener.port)) as connection:
            connection.sendall(b"GET /" + b"x" * 20_000)
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{listener.port}/oauth/callback?state=right&code=c"
            async with session.get(url) as response:
                assert response.status == 200


def test_a_verifier_is_long_random_and_hidden():
    one, other = Pkce.make(), Pkce.make()
    assert one.verifier != other.verifier
    assert len(one.verifier.reveal()) == 43
    assert one.verifier.reveal() not in repr(one)
