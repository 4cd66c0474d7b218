"""The sign-in services: social refresh, OIDC registration, device codes and tokens, a company's own provider.

Each function takes what was posted and returns a status and a JSON document, as the real services
answer. Device codes are approved by `approve`, or by themselves after a few polls.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from kiro.emulator.accounts import TOKEN_LIFETIME_S, Client, Kind, People, Person, Tokens, challenge_of, grant_code
from kiro.emulator.company import Company

Reply = tuple[int, dict[str, Any]]

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
BUILDER_ID_START_URL: Final = "https://view.awsapps.com/start"
_CODE_LIFETIME_S: Final = 600
_CLIENT_LIFETIME_S: Final = 90 * 86400


class _Device(msgspec.Struct):
    """A device code on its way. `polls_left` polls are answered with "pending" before it approves itself."""

    user_code: str
    kind: Kind
    provider: str
    expires_at: float
    polls_left: int | None
    person: Person | None = None
    denied: bool = False
    slow_downs: int = 0


class SignIn:
    """`polls`: how many polls of a device code are pending before it approves itself; `None` = wait for `approve`."""

    def __init__(self, people: People, now: Callable[[], float], polls: int | None = 1) -> None:
        self._people = people
        self._now = now
        self._polls = polls
        self.slow_downs = 0
        """How many polls of each new device code are told to slow down first."""
        self.portal_option = "google"
        """What people choose on the portal's page."""
        self.portal_waits = False
        """Whether the portal is a page to click on; otherwise it sends the browser on at once."""
        self.portal_error: str | None = None
        """The error the portal comes back with instead of a code."""
        self._issuers: dict[str, str] = {}
        self._portal_codes: dict[str, tuple[str, str, str]] = {}
        self.signs_in: str | None = None
        """The name of the person who confirms codes from now on; `None`: a new person each time."""
        self.company = Company(people, lambda: self._new_person("external_idp", None))
        self._devices: dict[str, _Device] = {}
        self._codes: dict[str, tuple[str, str, Kind]] = {}

    def refresh_social(self, posted: Mapping[str, Any]) -> Reply:
        """`POST /refreshToken`."""
        found = self._people.refresh(str(posted.get("refreshToken", "")))
        if found is None or found[0].kind != "social":
            return 401, {"message": "Bad credentials"}
        return 200, self._social(*found)

    def refresh_external(self, posted: Mapping[str, Any]) -> Reply:
        """`POST …/oauth2/token`, form-encoded, as a company's provider answers: in snake_case."""
        if posted.get("grant_type") == "authorization_code":
            return self.company.redeem(posted)
        if posted.get("grant_type") != "refresh_token":
            return 400, {"error": "unsupported_grant_type"}
        found = self._people.refresh(str(posted.get("refresh_token", "")))
        if found is None or found[0].kind != "external_idp":
            return 400, {"error": "invalid_grant", "error_description": "The refresh token is not valid."}
        tokens = found[1]
        return 200, {
            "access_token": tokens.access,
            "refresh_token": tokens.refresh,
            "expires_in": TOKEN_LIFETIME_S,
            "token_type": "Bearer",
        }

    def register(self, posted: Mapping[str, Any]) -> Reply:
        """`POST /client/register`."""
        if not posted.get("clientName") or posted.get("clientType") != "public":
            return 400, _oauth_error("invalid_request", "clientName and clientType are needed")
        client = self._people.register()
        self._issuers[client.id] = str(posted.get("issuerUrl", ""))
        now = int(self._now())
        document = {"clientId": client.id, "clientSecret": client.secret, "clientIdIssuedAt": now}
        return 200, document | {"clientSecretExpiresAt": now + _CLIENT_LIFETIME_S}

    def token(self, posted: Mapping[str, Any]) -> Reply:
        """`POST /token`: grants refresh_token, device_code, authorization_code."""
        client = self._people.clients.get(str(posted.get("clientId", "")))
        if client is None or client.secret != posted.get("clientSecret"):
            return 401, _oauth_error("invalid_client", "Invalid client")
        match posted.get("grantType"):
            case "refresh_token":
                return self._refresh_oidc(client, str(posted.get("refreshToken", "")))
            case "authorization_code":
                return self._redeem_code(client, posted)
            case grant if grant == DEVICE_GRANT:
                return self._redeem_device(client, str(posted.get("deviceCode", "")))
            case _:
                return 400, _oauth_error("unsupported_grant_type", "Unsupported grant type")

    def _refresh_oidc(self, client: Client, token: str) -> Reply:
        owner = self._people.holder(token)
        if owner is None or owner.client != client:
            return 400, _oauth_error("invalid_grant", "Invalid refresh token provided")
        found = self._people.refresh(token)
        return (
            (200, _oidc(found[1])) if found else (400, _oauth_error("invalid_grant", "Invalid refresh token provided"))
        )

    def start_device(self, posted: Mapping[str, Any], base_url: str) -> Reply:
        """`POST /device_authorization`: Builder ID or Identity Center, by the start URL."""
        if str(posted.get("clientId", "")) not in self._people.clients:
            return 401, _oauth_error("invalid_client", "Invalid client")
        start_url = str(posted.get("startUrl", "")).rstrip("/")
        if not start_url.startswith("https://"):
            return 400, _oauth_error("invalid_request", "Invalid start url provided")
        kind: Kind = "builder_id" if start_url == BUILDER_ID_START_URL else "idc"
        code, device = self._new_device(kind, "")
        uri = f"{base_url}/device"
        return 200, {
            "deviceCode": code,
            "userCode": device.user_code,
            "verificationUri": uri,
            "verificationUriComplete": f"{uri}?user_code={device.user_code}",
            "expiresIn": _CODE_LIFETIME_S,
            "interval": 1,
        }

    def start_social_device(self, posted: Mapping[str, Any], base_url: str) -> Reply:
        """`POST /oauth/device/authorization`."""
        provider = posted.get("loginProvider")
        if provider not in ("Google", "Github"):
            return 400, {"message": "Invalid login provider"}
        code, device = self._new_device("social", str(provider))
        uri = f"{base_url}/account/device"
        query = urlencode({"user_code": device.user_code, "login_provider": device.provider})
        return 200, {
            "deviceCode": code,
            "userCode": device.user_code,
            "verificationUri": uri,
            "verificationUriComplete": f"{uri}?{query}",
            "expiresInMilliseconds": _CODE_LIFETIME_S * 1000,
            "intervalInMilliseconds": 1000,
        }

    def poll_social_device(self, posted: Mapping[str, Any]) -> Reply:
        """`POST /oauth/device/poll`: always 200, the status word tells."""
        device = self._devices.get(str(posted.get("deviceCode", "")))
        if device is None:
            return 200, {"status": "invalid_token"}
        if device.expires_at <= self._now():
            return 200, {"status": "expired_token"}
        if device.denied:
            return 200, {"status": "access_denied"}
        if device.slow_downs > 0:
            device.slow_downs -= 1
            return 200, {"status": "slow_down"}
        if not self._approved(device) or device.person is None:
            return 200, {"status": "authorization_pending", "accessToken": None, "refreshToken": None}
        tokens = self._people.issue(device.person)
        document = self._social(device.person, tokens)
        return 200, document | {"status": "authorized", "identityProvider": device.provider}

    def approve(self, user_code: str) -> None:
        """The person typed the code and said yes."""
        for device in self._devices.values():
            if device.user_code == user_code:
                device.polls_left = 0

    def deny(self, user_code: str) -> None:
        """The person said no."""
        for device in self._devices.values():
            if device.user_code == user_code:
                device.denied = True

    def authorize(self, query: Mapping[str, str]) -> str:
        """`GET /authorize`: the address the browser is sent back to, with a code."""
        code = grant_code("code", len(self._codes) + 1)
        builder = self._issuers.get(query.get("client_id", "")) == BUILDER_ID_START_URL
        kind: Kind = "builder_id" if builder else "idc"
        self._codes[code] = (query.get("code_challenge", ""), query.get("redirect_uri", ""), kind)
        return f"{query.get('redirect_uri', '')}?{urlencode({'code': code, 'state': query.get('state', '')})}"

    def portal(self, query: Mapping[str, str]) -> str:
        """`GET /signin`: where the portal sends the browser after the choice."""
        origin, option = query.get("redirect_uri", ""), query.get("option", self.portal_option)
        answer = {"state": query.get("state", ""), "login_option": option}
        if self.portal_error is not None:
            answer |= {"error": self.portal_error, "error_description": "The person said no."}
        elif option in ("google", "github"):
            code = grant_code("portal", len(self._portal_codes) + 1)
            redirect = f"{origin}/oauth/callback?login_option={option}"
            self._portal_codes[code] = (query.get("code_challenge", ""), redirect, option)
            answer["code"] = code
        elif option == "external_idp":
            answer |= self.company.for_portal()
        else:
            answer |= {"issuer_url": "https://d-1234567890.awsapps.com/start", "idc_region": "us-east-1"}
        return f"{origin}/oauth/callback?{urlencode(answer)}"

    def redeem_portal(self, posted: Mapping[str, Any]) -> Reply:
        """`POST /oauth/token`: a code of the portal, once."""
        challenge, redirect, _ = self._portal_codes.pop(str(posted.get("code", "")), ("", "", ""))
        if not _proves(posted.get("code_verifier"), challenge) or posted.get("redirect_uri") != redirect:
            return 400, {"message": "Invalid code"}
        person = self._new_person("social", None)
        return 200, self._social(person, self._people.issue(person))

    def sign_out(self, posted: Mapping[str, Any]) -> Reply:
        """`POST /logout`: the refresh token is dead from then on."""
        owner = self._people.holder(str(posted.get("refreshToken", "")))
        if owner is not None:
            self._people.revoke(owner)
        return 200, {}

    def _redeem_code(self, client: Client, posted: Mapping[str, Any]) -> Reply:
        challenge, redirect, kind = self._codes.pop(str(posted.get("code", "")), ("", "", "idc"))
        if not _proves(posted.get("codeVerifier"), challenge) or posted.get("redirectUri") != redirect:
            return 400, _oauth_error("invalid_grant", "Invalid code")
        return 200, _oidc(self._people.issue(self._new_person(kind, client)))

    def _redeem_device(self, client: Client, code: str) -> Reply:
        device = self._devices.get(code)
        if device is None:
            return 400, _oauth_error("invalid_grant", "Invalid device code")
        if device.expires_at <= self._now():
            return 400, _oauth_error("expired_token", "Expired device code")
        if device.denied:
            return 400, _oauth_error("access_denied", "The person refused")
        if device.slow_downs > 0:
            device.slow_downs -= 1
            return 400, _oauth_error("slow_down", "Slow down")
        if not self._approved(device) or device.person is None:
            return 400, _oauth_error("authorization_pending", "Authorization pending")
        device.person.client = client
        del self._devices[code]
        return 200, _oidc(self._people.issue(device.person))

    def _new_device(self, kind: Kind, provider: str) -> tuple[str, _Device]:
        number = len(self._devices) + len(self._people.persons) + 1
        device = _Device(f"EMUL-{number:04d}", kind, provider, self._now() + _CODE_LIFETIME_S, self._polls)
        device.slow_downs = self.slow_downs
        code = f"device-{number}-{hashlib.sha256(device.user_code.encode()).hexdigest()[:16]}"
        self._devices[code] = device
        return code, device

    def _approved(self, device: _Device) -> bool:
        if device.polls_left is None or device.polls_left > 0:
            device.polls_left = None if device.polls_left is None else device.polls_left - 1
            return False
        if device.person is None:
            device.person = self._new_person(device.kind, None)
        return True

    def _new_person(self, kind: Kind, client: Client | None) -> Person:
        known = self._people.persons.get(self.signs_in or "")
        if known is not None:
            known.client = client or known.client
            return known
        person = self._people.add(f"{kind}-{len(self._people.persons) + 1}", kind)
        person.client = client or person.client
        return person

    @staticmethod
    def _social(person: Person, tokens: Tokens) -> dict[str, Any]:
        return {
            "accessToken": tokens.access,
            "refreshToken": tokens.refresh,
            "expiresIn": TOKEN_LIFETIME_S,
            "profileArn": person.profile_arn,
        }


def _proves(verifier: object, challenge: str) -> bool:
    return bool(challenge) and challenge_of(verifier) == challenge


def _oidc(tokens: Tokens) -> dict[str, Any]:
    document = {"accessToken": tokens.access, "refreshToken": tokens.refresh}
    return document | {"expiresIn": TOKEN_LIFETIME_S, "tokenType": "Bearer"}


def _oauth_error(error: str, description: str) -> dict[str, Any]:
    return {"error": error, "error_description": description}
