"""Every error the sign-in services are known to give, in each spelling, as a plain sentence with a hint."""

from datetime import UTC, datetime

import msgspec
import pytest

from kiro.auth.credentials import ExternalIdpCredentials, IdcCredentials, OidcClient, SocialCredentials
from kiro.auth.device import Pending, Unreadable, read_poll
from kiro.auth.http import HttpReply
from kiro.auth.oidc import check
from kiro.auth.pkce import code_of
from kiro.auth.refresh import RefreshRefused, parse_refresh
from kiro.auth.social import read_social_poll
from kiro.auth.steps import Callback, SignInFailed
from kiro.errors import AccessRefused, KiroError, RateLimited, UpstreamBroken, UpstreamTimeout
from kiro.redaction import Secret

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SAID = "words of the service with aorAAAAAGsecretsecretsecret"


def plain(error, *, hint=True):
    """A sentence of ours: it ends like one, has a hint, and quotes nothing of the service."""
    assert error.message[0].isupper()
    assert error.message.endswith(".")
    assert "secret" not in error.full_text()
    assert "words of the service" not in error.full_text()
    if hint:
        assert error.hint
        assert error.hint.endswith(".")
    return True


def spellings(code, exception, status=400):
    """The same refusal as OAuth writes it, and as AWS names its exception, in the body and in the header."""
    described = {"error_description": SAID}
    return [
        HttpReply(status, {}, msgspec.json.encode({"error": code, **described})),
        HttpReply(status, {}, msgspec.json.encode({"__type": f"com.amazonaws.ssooidc#{exception}", "message": SAID})),
        HttpReply(status, {"x-amzn-errortype": f"{exception}:http://internal/"}, b"{}"),
        HttpReply(200, {}, msgspec.json.encode({"error": code, **described})),
    ]


POLLING = {
    "authorization_pending": ("AuthorizationPendingException", "pending"),
    "slow_down": ("SlowDownException", "slower"),
    "expired_token": ("ExpiredTokenException", "The code has expired"),
    "access_denied": ("AccessDeniedException", "refused in the browser"),
    "invalid_grant": ("InvalidGrantException", "does not accept the code"),
    "invalid_client": ("InvalidClientException", "does not know this client"),
    "unauthorized_client": ("UnauthorizedClientException", "does not let this client in"),
    "invalid_request": ("InvalidRequestException", r"was refused \(invalid_request\)"),
    "invalid_scope": ("InvalidScopeException", r"was refused \(invalid_scope\)"),
    "unsupported_grant_type": ("UnsupportedGrantTypeException", r"was refused \(unsupported_grant_type\)"),
    "invalid_redirect_uri": ("InvalidRedirectUriException", r"was refused \(invalid_redirect_uri\)"),
    "internal_server": ("InternalServerException", "unreadable"),
}


@pytest.mark.parametrize("code", POLLING)
@pytest.mark.parametrize("spelling", range(4), ids=["oauth", "type", "header", "in a 200"])
def test_while_a_code_is_polled(code, spelling):
    exception, meaning = POLLING[code]
    reply = spellings(code, exception)[spelling]
    if meaning in ("pending", "slower"):
        assert read_poll(reply) == Pending(slower=meaning == "slower")
    elif meaning == "unreadable":
        polled = read_poll(reply)
        assert isinstance(polled, Unreadable)
        assert plain(polled.error)
    else:
        with pytest.raises(SignInFailed, match=meaning) as failed:
            read_poll(reply)
        assert plain(failed.value)
        assert failed.value.reason == code


@pytest.mark.parametrize("code", [code for code in POLLING if code not in ("authorization_pending", "internal_server")])
def test_in_the_other_requests_of_a_sign_in(code):
    for reply in spellings(code, POLLING[code][0])[:3]:
        with pytest.raises(KiroError) as failed:
            check(reply, "The registration")
        assert plain(failed.value)


@pytest.mark.parametrize("case", ["Invalid start url provided", "INVALID START URL PROVIDED"])
def test_a_wrong_start_url_is_known_by_its_text_only(case):
    reply = HttpReply(400, {}, msgspec.json.encode({"error": "invalid_request", "error_description": case}))
    with pytest.raises(SignInFailed, match="does not know this start URL") as failed:
        check(reply, "The device code")
    assert plain(failed.value)


PORTAL = {
    "access_denied": "refused in the browser",
    "invalid_request": "did not understand",
    "unauthorized_client": "does not let kiro",
    "server_error": "trouble of its own",
    "invalid_scope": "does not give what Kiro needs",
    "temporarily_unavailable": "overloaded",
    "interaction_required": "wants something",
    "login_required": "Nobody is signed in",
    "consent_required": "has not allowed Kiro",
    "made up: <b>words of the service</b>": "reported an error",
}


@pytest.mark.parametrize(("code", "said"), PORTAL.items(), ids=PORTAL.keys())
def test_when_the_browser_comes_back_with_an_error(code, said):
    with pytest.raises(SignInFailed, match=said) as failed:
        code_of(Callback("/oauth/callback", {"error": code, "error_description": SAID}))
    assert plain(failed.value)


def test_when_the_browser_comes_back_with_nothing():
    with pytest.raises(SignInFailed, match="without a code") as failed:
        code_of(Callback("/oauth/callback", {}))
    assert plain(failed.value)


SOCIAL_POLL = {"expired_token": "has expired", "invalid_token": "has expired", "access_denied": "refused"}


@pytest.mark.parametrize(("word", "said"), SOCIAL_POLL.items(), ids=SOCIAL_POLL.keys())
def test_while_a_code_of_google_or_github_is_polled(word, said):
    with pytest.raises(SignInFailed, match=said) as failed:
        read_social_poll(HttpReply(200, {}, msgspec.json.encode({"status": word})))
    assert plain(failed.value)


# -- refreshing

SOCIAL = SocialCredentials(refresh_token=Secret("r"))
OIDC = IdcCredentials(refresh_token=Secret("r"), client=OidcClient(id="i", secret=Secret("s")), auth_region="eu-west-1")
COMPANY = ExternalIdpCredentials(refresh_token=Secret("r"), client_id="c", token_endpoint="https://login.example/token")


def reply(status, document, **headers):
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    return HttpReply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


REFRESHING = {
    "AWS: a dead token": (OIDC, reply(400, {"error": "invalid_grant", "error_description": SAID}), RefreshRefused),
    "AWS: replaced by another sign-in": (OIDC, reply(400, {"error": "invalid_request"}), RefreshRefused),
    "AWS: a dead client": (OIDC, reply(401, {"error": "invalid_client"}), RefreshRefused),
    "AWS: an expired client": (OIDC, reply(400, {"__type": "ExpiredTokenException"}), RefreshRefused),
    "AWS: refused": (OIDC, reply(400, {"error": "access_denied"}), RefreshRefused),
    "AWS: too fast": (OIDC, reply(400, {"error": "slow_down"}), RateLimited),
    "AWS: its own trouble": (OIDC, reply(500, {"__type": "InternalServerException"}), UpstreamBroken),
    "social: a dead token": (SOCIAL, reply(401, {"message": "Bad credentials"}), RefreshRefused),
    "social: forbidden": (SOCIAL, reply(403, {"message": SAID}), AccessRefused),
    "social: another refusal": (SOCIAL, reply(422, {"message": SAID}), AccessRefused),
    "company: a dead token": (COMPANY, reply(400, {"error": "invalid_grant"}), RefreshRefused),
    "company: its policy": (COMPANY, reply(400, {"error": "interaction_required"}), RefreshRefused),
    "company: other scopes": (COMPANY, reply(400, {"error": "invalid_scope"}), AccessRefused),
    "throttled": (SOCIAL, reply(429, b"", retry_after="7"), RateLimited),
    "trouble": (SOCIAL, reply(503, b"<html>" + SAID.encode()), UpstreamBroken),
    "silence of a gateway": (SOCIAL, reply(504, b""), UpstreamTimeout),
    "a page instead of tokens": (SOCIAL, reply(200, b"<html>"), UpstreamBroken),
    "no tokens": (SOCIAL, reply(200, {}), UpstreamBroken),
}


@pytest.mark.parametrize(("credentials", "answer", "kind"), REFRESHING.values(), ids=REFRESHING.keys())
def test_while_a_token_is_refreshed(credentials, answer, kind):
    """A refused sign-in gets its hint from the account, whose kind says which command signs in again."""
    with pytest.raises(kind) as failed:
        parse_refresh(credentials, answer, NOW)
    assert type(failed.value) is kind
    assert plain(failed.value, hint=kind is not RefreshRefused)
