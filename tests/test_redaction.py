"""No token, client secret or key of any sample survives the two layers of cleaning."""

import copy
import json
import logging
import pickle
import re
from pathlib import Path

import pytest

from kiro.redaction import MARK, RedactionFilter, Secret, redact, redact_text, without_password

CASES = Path(__file__).parent / "cases" / "auth"
SAMPLES = sorted(path for path in CASES.rglob("*") if path.suffix in (".json", ".sql") and path.name != "index.json")
LEFTOVER = re.compile(
    r"ao[ar]FAKE|ao[ar]AAAA|ksk_FAKE|FAKE-EXTERNAL-REFRESH|FAKE-CLIENT-SECRET|FAKE-UNNEEDED-SECRET|FAKE-ADMIN-PASSWORD"
    r"|FAKE-PROXY-API-KEY|eyJhbGci"
)


def text_of(path: Path) -> str:
    data = path.read_bytes()
    return data.decode("utf-16" if data.startswith(b"\xff\xfe") else "utf-8-sig", "replace")


@pytest.mark.parametrize("path", SAMPLES, ids=[str(path.relative_to(CASES)) for path in SAMPLES])
def test_a_sample_has_nothing_secret_left(path):
    text = text_of(path)
    try:
        cleaned = json.dumps(redact(json.loads(text)))
    except json.JSONDecodeError:
        cleaned = redact_text(text)
    assert not LEFTOVER.search(cleaned)


@pytest.mark.parametrize(
    "text",
    [
        "POST /token refresh_token=abc-def&client_id=x",
        "http://localhost:3128/oauth/callback?code=abc-def&state=abc-def",
        "Authorization: Bearer abc-def-ghi",
        '{"clientSecret": "abc-def"}',
        '{\\"client_secret\\":\\"abc-def\\"}',
        'INSERT INTO t VALUES (\'{"refresh_token":"abc-def"}\')',
        "key aoaabc-defabc-defabc-def is bad",
        "key ksk_abc-def12 is bad",
        "GET /v1beta/models?key=abc-def HTTP/1.1",
        "socks5://me:abc-def@proxy.example:1080",
        "{'password': 'abc-def'}",
        "token sk-kiro-abc-def-ghi",
    ],
)
def test_free_text_is_cleaned(text):
    cleaned = redact_text(text)
    assert "abc-def" not in cleaned
    assert MARK in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "status code 403 from us-east-1",
        "the client-side state is fine",
        "/v1/models?limit=3",
        "arn:aws:codewhisperer:us-east-1:000000000000:profile/X",
    ],
)
def test_harmless_text_stays(text):
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "name", ["accessToken", "access_token", "X-Api-Key", "Set-Cookie", "clientSecret", "USER_CODE"]
)
def test_fields_with_telling_names_are_replaced(name):
    assert redact({name: "abc", "other": "abc"}) == {name: MARK, "other": "abc"}


def test_the_keys_of_a_key_list_are_replaced_and_other_keys_are_not():
    document = {"apiKeys": [{"id": "1", "key": "abc"}], "settings": [{"key": "theme"}]}
    assert redact(document) == {"apiKeys": [{"id": "1", "key": MARK}], "settings": [{"key": "theme"}]}


def fail(text: str) -> None:
    raise RuntimeError(text)


def test_a_log_record_is_cleaned_with_its_arguments_and_its_traceback():
    class Lines(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[str] = []

        def emit(self, record: logging.LogRecord) -> None:
            self.lines.append(self.format(record))

    handler = Lines()
    handler.addFilter(RedactionFilter())
    logger = logging.getLogger("kiro.test-redaction")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        fail("refresh_token=abc-def")
    except RuntimeError:
        logger.exception("failed with %s", {"access_token": "abc-def"})
    [line] = handler.lines
    assert "abc-def" not in line
    assert "RuntimeError" in line


def test_a_secret_shows_itself_only_when_asked():
    secret = Secret("abc-def")
    assert "abc" not in f"{secret} {secret!r} {secret:>20} {[secret]}"
    assert secret.reveal() == "abc-def"
    assert secret == Secret("abc-def") != Secret("x")
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(secret)


def test_a_proxy_is_shown_without_its_password():
    assert without_password("http://me:abc@p:1") == f"http://me:{MARK}@p:1"
    assert without_password("http://p:1") == "http://p:1"
