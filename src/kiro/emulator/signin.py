"""The sign-in services: social refresh, OIDC registration, device codes and tokens, a company's own provider.

Each function takes what was posted and returns a status and a JSON document, as the real services
answer. Device codes are approved by `approve`, or by themselves after a few polls.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from kiro.emulator.accounts import TOKEN_LIFETIME_S, Client, Kind, People, Person, Tokens

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


class SignIn:
    """`polls`: how many polls of a device code are pending before it approves itself; `None` = wait for `approve`."""

    def __init__(self, people: People, now: Callable[[], float], polls: int | None = 1) -> None:
        self._people = people
        self._now = now
        self._polls = polls
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

    def authorize(self, query: Mapping[str, str]) -> str:
        """`GET /authorize`: the address the browser is sent back to, with a code."""
        code = f"code-{len(self._codes) + 1}"
        self._codes[code] = (query.get("code_challenge", ""), query.get("redirect_uri", ""), "idc")
        return f"{query.get('redirect_uri', '')}?{urlencode({'code': code, 'state': query.get('state', '')})}"

    def _redeem_code(self, client: Client, posted: Mapping[str, Any]) -> Reply:
        challenge, redirect, kind = self._codes.pop(str(posted.get("code", "")), ("", "", "idc"))
        digest = hashlib.sha256(str(posted.get("codeVerifier", "")).encode()).digest()
        proven = base64.urlsafe_b64encode(digest).decode().rstrip("=") == challenge
        if not challenge or not proven or posted.get("redirectUri") != redirect:
            return 400, _oauth_error("invalid_grant", "Invalid code")
        return 200, _oidc(self._people.issue(self._new_person(kind, client)))

    def _redeem_device(self, client: Client, code: str) -> Reply:
        device = self._devices.get(code)
        if device is None:
            return 400, _oauth_error("invalid_grant", "Invalid device code")
        if device.expires_at <= self._now():
            return 400, _oauth_error("expired_token", "Expired device code")
        if not self._approved(device) or device.person is None:
            return 400, _oauth_error("authorization_pending", "Authorization pending")
        device.person.client = client
        del self._devices[code]
        return 200, _oidc(self._people.issue(device.person))

    def _new_device(self, kind: Kind, provider: str) -> tuple[str, _Device]:
        number = len(self._devices) + len(self._people.persons) + 1
        device = _Device(f"EMUL-{number:04d}", kind, provider, self._now() + _CODE_LIFETIME_S, self._polls)
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


def _oidc(tokens: Tokens) -> dict[str, Any]:
    document = {"accessToken": tokens.access, "refreshToken": tokens.refresh}
    return document | {"expiresIn": TOKEN_LIFETIME_S, "tokenType": "Bearer"}


def _oauth_error(error: str, description: str) -> dict[str, Any]:
    return {"error": error, "error_description": description}
