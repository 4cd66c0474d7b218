"""The sign-in services: what each answers to a good and to a bad request."""

import base64
import hashlib
from typing import Any

import aiohttp
import pytest

from kiro.emulator.accounts import BUILDER_ID_ARN, SOCIAL_ARN, Client, People
from kiro.emulator.server import Emulator
from kiro.emulator.signin import DEVICE_GRANT, SignIn
from support.clock import FakeClock


@pytest.fixture
def people(clock: FakeClock) -> People:
    return People(clock)


@pytest.fixture
def sign_in(people: People, clock: FakeClock) -> SignIn:
    return SignIn(people, clock)


def with_client(client: Client | None, **fields: Any) -> dict[str, Any]:
    assert client is not None
    return {"clientId": client.id, "clientSecret": client.secret, **fields}


class TestSocial:
    def test_a_refresh_rotates(self, people: People, sign_in: SignIn) -> None:
        old = people.issue(people.add("a"))
        status, new = sign_in.refresh_social({"refreshToken": old.refresh})
        assert (status, new["expiresIn"], new["profileArn"]) == (200, 3600, SOCIAL_ARN)
        assert new["refreshToken"] != old.refresh
        assert people.owner(new["accessToken"]) is people.persons["a"]
        assert sign_in.refresh_social({"refreshToken": old.refresh}) == (401, {"message": "Bad credentials"})

    def test_a_revoked_token_is_dead(self, people: People, sign_in: SignIn) -> None:
        tokens = people.issue(people.add("a"))
        people.revoke(people.persons["a"])
        assert sign_in.refresh_social({"refreshToken": tokens.refresh})[0] == 401
        assert people.owner(tokens.access) is None

    def test_device_code(self, people: People, sign_in: SignIn) -> None:
        asked = {"clientId": "Kiro-CLI", "loginProvider": "Google"}
        status, started = sign_in.start_social_device(asked, "http://here")
        assert (status, started["intervalInMilliseconds"]) == (200, 1000)
        poll = {"deviceCode": started["deviceCode"], "clientId": "Kiro-CLI"}
        assert sign_in.poll_social_device(poll)[1]["status"] == "authorization_pending"
        _, answer = sign_in.poll_social_device(poll)
        assert (answer["status"], answer["profileArn"]) == ("authorized", SOCIAL_ARN)
        assert people.owner(answer["accessToken"]) is not None

    def test_device_code_errors(self, sign_in: SignIn, clock: FakeClock) -> None:
        assert sign_in.start_social_device({"provider": "Google"}, "")[0] == 400
        assert sign_in.poll_social_device({"deviceCode": "x"}) == (200, {"status": "invalid_token"})
        _, started = sign_in.start_social_device({"loginProvider": "Github"}, "")
        clock.advance(601)
        assert sign_in.poll_social_device(started)[1]["status"] == "expired_token"


class TestOidc:
    def test_registration(self, sign_in: SignIn, clock: FakeClock) -> None:
        status, answer = sign_in.register({"clientName": "n", "clientType": "public", "scopes": []})
        assert status == 200
        assert answer["clientSecretExpiresAt"] > clock.now
        assert sign_in.register({})[0] == 400

    def test_a_refresh_needs_the_client_it_belongs_to(self, people: People, sign_in: SignIn) -> None:
        person = people.add("b", "builder_id")
        tokens = people.issue(person)
        asked = {"grantType": "refresh_token", "refreshToken": tokens.refresh}
        foreign = sign_in.token(with_client(people.register(), **asked))
        assert (foreign[0], foreign[1]["error"]) == (400, "invalid_grant")
        status, answer = sign_in.token(with_client(person.client, **asked))
        assert (status, answer["tokenType"]) == (200, "Bearer")
        assert sign_in.token(asked)[1]["error"] == "invalid_client"
        assert sign_in.token(with_client(person.client, **asked))[1]["error"] == "invalid_grant"

    def test_a_refresh_token_that_does_not_rotate_stays_good(self, people: People, sign_in: SignIn) -> None:
        person = people.add("b", "idc")
        person.rotates = False
        tokens = people.issue(person)
        asked = with_client(person.client, grantType="refresh_token", refreshToken=tokens.refresh)
        assert sign_in.token(asked)[1]["refreshToken"] == tokens.refresh
        assert sign_in.token(asked)[0] == 200

    def test_an_unknown_grant(self, people: People, sign_in: SignIn) -> None:
        assert (
            sign_in.token(with_client(people.register(), grantType="password"))[1]["error"] == "unsupported_grant_type"
        )

    @pytest.mark.parametrize(
        ("start_url", "arn"),
        [("https://view.awsapps.com/start", BUILDER_ID_ARN), ("https://d-1234567890.awsapps.com/start/", None)],
    )
    def test_device_code(self, people: People, sign_in: SignIn, start_url: str, arn: str | None) -> None:
        client = people.register()
        status, started = sign_in.start_device(with_client(client, startUrl=start_url), "http://here")
        assert (status, started["verificationUri"]) == (200, "http://here/device")
        poll = with_client(client, grantType=DEVICE_GRANT, deviceCode=started["deviceCode"])
        assert sign_in.token(poll)[1]["error"] == "authorization_pending"
        status, answer = sign_in.token(poll)
        owner = people.owner(answer["accessToken"])
        assert owner is not None
        assert status == 200
        assert owner.profile_arn == arn if arn else owner.kind == "idc"
        assert sign_in.token(poll)[1]["error"] == "invalid_grant"

    def test_device_code_waits_for_the_person(self, people: People, clock: FakeClock) -> None:
        sign_in = SignIn(people, clock, polls=None)
        client = people.register()
        _, started = sign_in.start_device(with_client(client, startUrl="https://view.awsapps.com/start"), "")
        poll = with_client(client, grantType=DEVICE_GRANT, deviceCode=started["deviceCode"])
        for _ in range(3):
            assert sign_in.token(poll)[1]["error"] == "authorization_pending"
        sign_in.approve(started["userCode"])
        assert sign_in.token(poll)[0] == 200

    def test_device_code_errors(self, people: People, sign_in: SignIn, clock: FakeClock) -> None:
        client = people.register()
        assert sign_in.start_device({"clientId": "x"}, "")[0] == 401
        assert sign_in.start_device(with_client(client, startUrl="nonsense"), "")[1]["error"] == "invalid_request"
        _, started = sign_in.start_device(with_client(client, startUrl="https://view.awsapps.com/start"), "")
        clock.advance(601)
        poll = with_client(client, grantType=DEVICE_GRANT, deviceCode=started["deviceCode"])
        assert sign_in.token(poll)[1]["error"] == "expired_token"

    def test_authorization_code_with_pkce(self, people: People, sign_in: SignIn) -> None:
        verifier, redirect = "v" * 43, "http://127.0.0.1:9/oauth/callback"
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = {"code_challenge": challenge, "redirect_uri": redirect, "state": "s"}
        client = people.register()
        for said, status in ((verifier, 200), ("other", 400)):
            back = sign_in.authorize(query)
            assert back.startswith(redirect)
            assert back.endswith("&state=s")
            code = back.partition("code=")[2].partition("&")[0]
            fields = {"grantType": "authorization_code", "code": code, "codeVerifier": said, "redirectUri": redirect}
            assert sign_in.token(with_client(client, **fields))[0] == status


class TestCompanyProvider:
    def test_a_refresh_speaks_snake_case(self, people: People, sign_in: SignIn) -> None:
        tokens = people.issue(people.add("c", "external_idp"))
        status, answer = sign_in.refresh_external({"grant_type": "refresh_token", "refresh_token": tokens.refresh})
        assert status == 200
        assert answer.keys() == {"access_token", "refresh_token", "expires_in", "token_type"}

    def test_errors(self, sign_in: SignIn) -> None:
        assert sign_in.refresh_external({})[1]["error"] == "unsupported_grant_type"
        assert sign_in.refresh_external({"grant_type": "refresh_token"})[1]["error"] == "invalid_grant"


async def test_over_http(emulator: Emulator, session: aiohttp.ClientSession) -> None:
    person = emulator.people.add("c", "external_idp")
    tokens = emulator.people.issue(person)
    form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh, "client_id": "x"}
    async with session.post(emulator.url + "/tenant/oauth2/token", data=form) as response:
        assert response.status == 200
    async with session.post(emulator.url + "/token", data=b"no json") as response:
        assert response.status == 400
    registered = {"clientName": "n", "clientType": "public"}
    async with session.post(emulator.url + "/client/register", json=registered) as response:
        client = await response.json()
    start = {"clientId": client["clientId"], "startUrl": "https://view.awsapps.com/start"}
    async with session.post(emulator.url + "/device_authorization", json=start) as response:
        assert (await response.json())["verificationUri"].startswith(emulator.url)
    social = {"loginProvider": "Google"}
    async with session.post(emulator.url + "/oauth/device/authorization", json=social) as response:
        started = await response.json()
    async with session.post(emulator.url + "/oauth/device/poll", json=started) as response:
        assert (await response.json())["status"] == "authorization_pending"
    query = {"redirect_uri": "http://127.0.0.1:9/", "state": "s"}
    async with session.get(emulator.url + "/authorize", params=query, allow_redirects=False) as response:
        assert response.status == 302
    async with session.get(emulator.url + "/elsewhere") as response:
        assert response.status == 404
    assert emulator.people.refreshes == 1


class TestCompany:
    REDIRECT = "http://localhost:3128/oauth/callback"

    def code(self, sign_in: SignIn, **more: str) -> str:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 43).digest()).decode().rstrip("=")
        asked = {"client_id": "company-client", "scope": "openid offline_access", "redirect_uri": self.REDIRECT}
        back = sign_in.company.authorize({**asked, "state": "s", "code_challenge": challenge, **more})
        return back.partition("?")[2].partition("&")[0]

    def posted(self, code: str, **more: str) -> dict[str, str]:
        form = {"grant_type": "authorization_code", "code": code, "client_id": "company-client"}
        return {**form, "redirect_uri": self.REDIRECT, "code_verifier": "v" * 43, **more}

    def test_a_code_is_good_once(self, sign_in: SignIn, people: People) -> None:
        code = self.code(sign_in).removeprefix("code=")
        status, answer = sign_in.refresh_external(self.posted(code))
        assert (status, answer["expires_in"]) == (200, "3600")
        owner = people.owner(answer["access_token"])
        assert owner is not None
        assert owner.kind == "external_idp"
        assert sign_in.refresh_external(self.posted(code))[1]["error"] == "invalid_grant"

    @pytest.mark.parametrize(
        "wrong", [{"code_verifier": "other"}, {"client_id": "other"}, {"redirect_uri": "http://localhost:1/"}]
    )
    def test_a_code_belongs_to_what_asked_for_it(self, sign_in: SignIn, wrong: dict[str, str]) -> None:
        code = self.code(sign_in).removeprefix("code=")
        assert sign_in.refresh_external(self.posted(code, **wrong))[1]["error"] == "invalid_grant"

    def test_a_secret_is_refused(self, sign_in: SignIn) -> None:
        code = self.code(sign_in).removeprefix("code=")
        assert sign_in.refresh_external(self.posted(code, client_secret="x"))[1]["error"] == "invalid_client"

    def test_without_offline_access_there_is_no_code(self, sign_in: SignIn) -> None:
        assert self.code(sign_in, scope="openid") == "error=invalid_request"


async def test_the_pages_of_the_portal(emulator: Emulator, session: aiohttp.ClientSession) -> None:
    emulator.sign_in.portal_waits = True
    query = {"redirect_uri": "http://localhost:9", "state": 's"><b>'}
    async with session.get(emulator.url + "/signin", params=query) as response:
        page = await response.text()
    assert page.count("<a href=") == 5
    assert "<b>" not in page
    async with session.get(
        emulator.url + "/signin", params={**query, "option": "github"}, allow_redirects=False
    ) as sent:
        assert "login_option=github" in sent.headers["Location"]
    for status, said in (("success", "You are signed in"), ("error", "The sign-in failed")):
        async with session.get(emulator.url + "/signin", params={"auth_status": status}) as response:
            assert said in await response.text()


async def test_the_cookie_of_the_portal(emulator: Emulator, session: aiohttp.ClientSession) -> None:
    for cookie, status in ((emulator.portal_cookie.cookie, 200), ("other", 401)):
        headers = {"Authorization": f"Bearer {cookie}"}
        async with session.get(emulator.url + "/token/whoAmI", headers=headers) as response:
            assert response.status == status
        async with session.post(emulator.url + "/session/device", headers=headers, json={}) as response:
            assert response.status == status
    for path in ("accept_user_code", "associate_token"):
        url = f"{emulator.url}/device_authorization/{path}"
        async with session.post(url, json={"userCode": "EMUL-0001", "userSessionId": "other"}) as response:
            assert response.status == 400
