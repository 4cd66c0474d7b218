"""Which service is asked with what, and what each of its answers means."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest

from kiro.auth.credentials import (
    ApiKeyCredentials,
    BuilderIdCredentials,
    ExternalIdpCredentials,
    IdcCredentials,
    OidcClient,
    SocialCredentials,
    can_refresh,
    from_record,
    kind_of,
    to_record,
)
from kiro.auth.http import HttpAsk, HttpReply
from kiro.auth.refresh import RefreshRefused, RefreshUrls, endpoint_allowed, parse_refresh, refresh_request
from kiro.errors import AccessRefused, RateLimited, StorageError, UpstreamBroken, UpstreamTimeout
from kiro.redaction import Secret

NOW = datetime(2026, 9, 1, tzinfo=UTC)
ARN = "arn:aws:codewhisperer:us-east-1:699475941385:profile/EHGA3GRVQMUK"
ENDPOINT = "https://login.microsoftonline.com/tenant/oauth2/v2.0/token"

SOCIAL = SocialCredentials(access_token=Secret("a0"), refresh_token=Secret("r0"), expires_at=NOW, provider="Google")
CLIENT = OidcClient(id="client", secret=Secret("client-secret"))
BUILDER = BuilderIdCredentials(refresh_token=Secret("r0"), client=CLIENT)
IDC = IdcCredentials(
    refresh_token=Secret("r0"), client=CLIENT, auth_region="eu-west-1", start_url="https://d-1.awsapps.com/start"
)
EXTERNAL = ExternalIdpCredentials(
    refresh_token=Secret("r0"), client_id="client", token_endpoint=ENDPOINT, scopes="openid x"
)
KEY = ApiKeyCredentials(api_key=Secret("ksk_1"))
ALL = [SOCIAL, BUILDER, IDC, EXTERNAL, KEY]
OIDC_BODY = {"clientId": "client", "clientSecret": "client-secret", "refreshToken": "r0", "grantType": "refresh_token"}


@pytest.mark.parametrize(
    ("credentials", "urls", "url"),
    [
        (SOCIAL, RefreshUrls(), "https://prod.us-east-1.auth.desktop.kiro.dev/refreshToken"),
        (BUILDER, RefreshUrls(), "https://oidc.us-east-1.amazonaws.com/token"),
        (IDC, RefreshUrls(), "https://oidc.eu-west-1.amazonaws.com/token"),
        (EXTERNAL, RefreshUrls(), ENDPOINT),
        (SOCIAL, RefreshUrls(social_url="http://127.0.0.1:1"), "http://127.0.0.1:1/refreshToken"),
        (IDC, RefreshUrls(oidc_url="http://127.0.0.1:1"), "http://127.0.0.1:1/token"),
        (EXTERNAL, RefreshUrls(oidc_url="http://127.0.0.1:1"), "http://127.0.0.1:1/tenant/oauth2/v2.0/token"),
    ],
)
def test_the_service_depends_on_the_kind_and_the_settings(credentials, urls, url):
    ask = refresh_request(credentials, urls)
    assert (ask.method, ask.url) == ("POST", url)


@pytest.mark.parametrize(
    ("credentials", "body"),
    [(SOCIAL, {"refreshToken": "r0"}), (BUILDER, OIDC_BODY), (IDC, OIDC_BODY)],
    ids=["social", "builder", "idc"],
)
def test_json_services_get_camel_case(credentials, body):
    ask = refresh_request(credentials, RefreshUrls())
    assert json.loads(ask.body) == body
    assert ask.headers["Content-Type"] == "application/json"


def test_an_external_provider_gets_a_form_with_the_stored_scopes():
    form = {"grant_type": ["refresh_token"], "refresh_token": ["r0"], "client_id": ["client"]}
    assert parse_qs(refresh_request(EXTERNAL, RefreshUrls()).body.decode()) == {**form, "scope": ["openid x"]}
    assert parse_qs(refresh_request(EXTERNAL, RefreshUrls(), with_scope=False).body.decode()) == form


def test_a_key_and_a_sign_in_without_registration_have_no_request():
    assert refresh_request(KEY, RefreshUrls()) is None
    lame = BuilderIdCredentials(refresh_token=Secret("r"))
    assert refresh_request(lame, RefreshUrls()) is None
    assert not can_refresh(lame)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        (ENDPOINT, True),
        ("https://login.microsoftonline.us/t", True),
        ("https://login.partner.microsoftonline.cn/t", True),
        ("https://login.microsoftonline.com:443/t", True),
        ("https://login.microsoftonline.com:8443/t", False),
        ("http://login.microsoftonline.com/t", False),
        ("https://login.microsoftonline.com.example.org/t", False),
        ("https://evilmicrosoftonline.com/t", False),
        ("https://login.microsoftonline.com@example.org/t", False),
        ("https://me@login.microsoftonline.com/t", False),
        ("https://169.254.169.254/t", False),
        ("https://[::1]/t", False),
        ("https://[/t", False),
        ("https://login.corp.example/t", True),
        ("https://192.0.2.7/t", False),
        ("https://[2001:db8::7]/t", False),
    ],
)
def test_only_known_token_services_are_asked(url, allowed):
    """A number is none, also when somebody allowed it."""
    assert endpoint_allowed(url, ("login.corp.example", "192.0.2.7", "2001:db8::7")) is allowed


def test_a_foreign_token_service_is_refused_at_every_refresh_unless_the_person_confirmed_it():
    foreign = ExternalIdpCredentials(
        refresh_token=Secret("r"), client_id="c", token_endpoint="https://login.corp.example/t"
    )
    with pytest.raises(RefreshRefused, match=r"login\.corp\.example"):
        refresh_request(foreign, RefreshUrls())
    confirmed = ExternalIdpCredentials(
        refresh_token=Secret("r"), client_id="c", token_endpoint="https://login.corp.example/t", confirmed=True
    )
    assert refresh_request(confirmed, RefreshUrls()).url == "https://login.corp.example/t"


def reply(status: int, body: object, **headers: str) -> HttpReply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status, {name.replace("_", "-"): value for name, value in headers.items()}, data)


def test_camel_case_answers_are_read():
    new = parse_refresh(BUILDER, reply(200, {"accessToken": "a1", "refreshToken": "r1", "expiresIn": 1800}), NOW)
    assert (new.access_token, new.refresh_token) == (Secret("a1"), Secret("r1"))
    assert new.expires_at == NOW + timedelta(minutes=30)


def test_snake_case_answers_are_read_and_the_life_may_be_text():
    new = parse_refresh(EXTERNAL, reply(200, {"access_token": "a1", "expires_in": "1800"}), NOW)
    assert new.access_token == Secret("a1")
    assert new.expires_at == NOW + timedelta(minutes=30)


@pytest.mark.parametrize("absent", [{}, {"refreshToken": ""}, {"refreshToken": None}])
def test_when_no_new_refresh_token_comes_the_old_one_stays(absent):
    assert parse_refresh(BUILDER, reply(200, {"accessToken": "a1", **absent}), NOW).refresh_token == Secret("r0")


@pytest.mark.parametrize(
    ("life", "seconds"),
    [(None, 3600), (0, 3600), (-1, 3600), ("soon", 3600), (1, 60), (7_000_000, 86400), (28800, 28800)],
)
def test_the_life_of_a_token_is_held_within_reason(life, seconds):
    new = parse_refresh(SOCIAL, reply(200, {"accessToken": "a1", "expiresIn": life}), NOW)
    assert new.expires_at == NOW + timedelta(seconds=seconds)


def test_a_social_answer_fills_a_missing_profile_and_never_changes_one():
    answer = reply(200, {"accessToken": "a1", "profileArn": ARN})
    assert parse_refresh(SOCIAL, answer, NOW).profile_arn == ARN
    other = SocialCredentials(refresh_token=Secret("r"), profile_arn=ARN.replace("EHGA", "AAAA"))
    assert parse_refresh(other, answer, NOW).profile_arn == other.profile_arn


@pytest.mark.parametrize(
    ("credentials", "answer", "reason"),
    [
        (BUILDER, reply(400, {"error": "invalid_grant", "error_description": "x"}), "invalid_grant"),
        (BUILDER, reply(400, {"__type": "com.amazonaws.sso#InvalidGrantException"}), "invalid_grant"),
        (BUILDER, reply(400, {}, x_amzn_errortype="InvalidGrantException:http://x"), "invalid_grant"),
        (BUILDER, reply(400, {"error": "invalid_request"}), "invalid_request"),
        (BUILDER, reply(401, {"error": "invalid_client"}), "invalid_client"),
        (BUILDER, reply(400, {"error": "expired_token"}), "expired_token"),
        (BUILDER, reply(200, {"error": "invalid_grant"}), "invalid_grant"),
        (SOCIAL, reply(401, {"message": "Bad credentials"}), "bad_credentials"),
        (SOCIAL, reply(401, b""), "401"),
        (EXTERNAL, reply(400, {"error": "interaction_required"}), "interaction_required"),
    ],
)
def test_a_dead_sign_in_is_recognised(credentials, answer, reason):
    with pytest.raises(RefreshRefused) as caught:
        parse_refresh(credentials, answer, NOW)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply(429, {}), RateLimited),
        (reply(400, {"error": "slow_down"}), RateLimited),
        (reply(500, {}), UpstreamBroken),
        (reply(502, b"<html>"), UpstreamBroken),
        (reply(504, b""), UpstreamTimeout),
        (reply(200, b"<html>wifi</html>"), UpstreamBroken),
        (reply(200, {"ok": True}), UpstreamBroken),
        (reply(302, b""), UpstreamBroken),
        (reply(400, {"__type": "InternalServerException"}), UpstreamBroken),
        (reply(403, {}), AccessRefused),
        (reply(400, {"error": "unsupported_grant_type"}), AccessRefused),
        (reply(404, b""), AccessRefused),
        (reply(200, b"\xff\xfe"), UpstreamBroken),
        (reply(200, [1]), UpstreamBroken),
    ],
)
def test_other_answers_say_nothing_final_about_the_sign_in(answer, error):
    with pytest.raises(error):
        parse_refresh(BUILDER, answer, NOW)


def test_retry_after_is_honoured():
    with pytest.raises(RateLimited) as caught:
        parse_refresh(SOCIAL, reply(429, {}, retry_after="17"), NOW)
    assert caught.value.retry_after_s == 17


def test_no_text_of_the_service_is_repeated():
    answer = reply(400, {"error": "aorSECRET text <b>", "error_description": "aorSECRET"})
    with pytest.raises(AccessRefused) as caught:
        parse_refresh(BUILDER, answer, NOW)
    assert "aorSECRET" not in caught.value.full_text()


@pytest.mark.parametrize("credentials", ALL, ids=kind_of)
def test_credentials_survive_the_vault(credentials):
    assert from_record(to_record(credentials)) == credentials


def test_a_record_of_the_future_is_not_guessed():
    with pytest.raises(StorageError):
        from_record(b'{"type":"telepathy"}')


@pytest.mark.parametrize("credentials", ALL, ids=kind_of)
def test_credentials_and_requests_do_not_show_their_secrets(credentials):
    shown = repr(credentials) + repr(refresh_request(credentials, RefreshUrls()))
    assert "r0" not in shown
    assert "client-secret" not in shown
    assert "ksk_" not in shown


def test_an_exchange_does_not_show_its_content():
    assert "secret" not in repr(HttpAsk("POST", "https://x/y?code=secret", {"a": "secret"}, b"secret"))
    assert "secret" not in repr(HttpReply(200, {"a": "secret"}, b"secret"))
