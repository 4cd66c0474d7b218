"""Who may come in."""

import re

import pytest

from kiro.server.app import routes
from support.proxy import running_proxy

BODY = {"model": "claude-sonnet-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
OPEN = {"/", "/healthz", "/readyz"}
BY_LINK = {"/login/{secret}"}


async def status_of(proxy, **more):
    async with proxy.post("/v1/messages", BODY, **more) as response:
        return response.status, (await response.json()).get("error", {})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"x-api-key": "sk-test-0123456789"}, 200),
        ({"Authorization": "Bearer sk-test-0123456789"}, 200),
        ({"authorization": "bearer sk-test-0123456789"}, 200),
        ({"x-goog-api-key": "sk-test-0123456789"}, 200),
        ({"x-api-key": "sk-test-012345678"}, 401),
        ({"x-api-key": ""}, 401),
        ({"Authorization": "Basic abc"}, 401),
        ({"Authorization": "Bearer sk-test-0123456789", "x-api-key": "stale"}, 200),
    ],
    ids=["none", "x-api-key", "bearer", "lower case", "google's", "wrong", "empty", "basic", "bearer goes first"],
)
async def test_keys(proxy, headers, status):
    got, error = await status_of(proxy, key=None, headers=headers)
    assert got == status
    if status == 401:
        assert error["type"] == "authentication_error"


async def test_a_key_in_the_query(proxy):
    async with proxy.session.post(f"{proxy.url}/v1/messages?key={proxy.key}", json=BODY) as response:
        assert response.status == 200


async def test_a_disabled_key_is_refused_at_once(proxy):
    proxy.home.keys.enable("test", False)
    proxy.runtime.reload_keys()
    got, error = await status_of(proxy)
    assert got == 401
    assert "disabled" in error["message"]


async def test_a_key_made_by_another_process_works_at_once(proxy):
    _, secret = proxy.home.keys.create("later")
    got, _ = await status_of(proxy, key=secret.reveal())
    assert got == 200


async def test_no_key_where_none_is_required(tmp_path, kiro):
    async with running_proxy(tmp_path, kiro, flags={"server.require_key": False}) as proxy:
        assert (await status_of(proxy, key=None))[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost:8080"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "[::1]:8080"}, 200),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "vscode-webview://abc"}, 200),
    ],
    ids=str,
)
async def test_host_and_origin(proxy, headers, status):
    assert (await status_of(proxy, headers=headers))[0] == status


async def test_an_allowed_page_may_read_answers(tmp_path, kiro):
    flags = {"server.cors_origins": ("https://good.example",), "server.allowed_hosts": ("proxy.lan",)}
    async with running_proxy(tmp_path, kiro, flags=flags) as proxy:
        headers = {"Origin": "https://good.example", "Host": "proxy.lan"}
        async with proxy.post("/v1/messages", BODY, headers=headers) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == "https://good.example"
        async with proxy.session.options(f"{proxy.url}/v1/messages", headers=headers) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == "https://good.example"
        async with proxy.session.options(
            f"{proxy.url}/v1/messages", headers={"Origin": "https://evil.example"}
        ) as response:
            assert response.status == 403


async def test_no_page_is_allowed_unasked(proxy):
    async with proxy.session.options(f"{proxy.url}/v1/messages", headers={"Origin": "https://any.example"}) as response:
        assert response.status == 403
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(("method", "path"), sorted({(method, path) for method, path, _ in routes()}))
async def test_every_route_is_guarded(proxy, method, path):
    url = proxy.url + re.sub(
        r"\{account\}",
        "first",
        re.sub(r"\{verb[^}]*\}", "generateContent", re.sub(r"\{(model|id|secret)[^}]*\}", "x", path)),
    )
    async with proxy.session.request(method, url, headers={"Host": "evil.example"}) as response:
        assert (response.status == 403) == (path not in OPEN)
    if path not in OPEN:
        async with proxy.session.request(method, url) as response:
            assert response.status == (404 if path in BY_LINK else 401)


async def test_errors_of_routing_have_the_dialect_s_shape(proxy):
    async with proxy.get("/v1/nothing") as response:
        assert response.status == 404
        assert (await response.json())["error"]["type"] == "not_found_error"
    async with proxy.get("/v1/messages") as response:
        assert response.status == 405
        assert "POST" in (await response.json())["error"]["message"]


async def test_health_needs_no_key_and_names_nobody(proxy):
    async with proxy.get("/healthz", key=None) as response:
        assert await response.json() == {"status": "ok"}
    async with proxy.get("/readyz", key=None) as response:
        assert (response.status, await response.text()) == (200, '{"status":"ready","in_flight":0,"waiting":0}')
    proxy.home.accounts.enable("first", False)
    proxy.runtime.roster.reload()
    async with proxy.get("/readyz", key=None) as response:
        assert response.status == 503
        assert "first" not in await response.text()


async def test_without_an_account_the_client_is_told_what_to_do(tmp_path, kiro):
    async with running_proxy(tmp_path, kiro, people=()) as proxy:
        got, error = await status_of(proxy)
        assert (got, error["type"]) == (401, "authentication_error")
        assert "kiro accounts import" in error["message"]


async def test_secrets_stay_out_of_answers_and_log(proxy, kiro):
    async with proxy.post("/v1/messages", BODY) as response:
        answer = await response.text()
    sent = {name.lower(): value for name, value in kiro.seen("generate")[0].headers.items()}
    row = await proxy.last_row()
    for secret in (proxy.key, sent["authorization"].removeprefix("Bearer ")):
        assert secret not in answer
        assert secret not in repr(row)
