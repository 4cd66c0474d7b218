"""The page behind a one-time link."""

import pytest

from kiro.storage.login_links import LinkPage, LoginLinks

ADDRESS = "http://localhost:3128/oauth/callback?code=c&state=s"
GO = LinkPage("browse", url='https://app.kiro.dev/signin?a=1&b="2"')


@pytest.fixture
def links(proxy):
    return LoginLinks(proxy.home.database)


@pytest.fixture
def link(proxy, links):
    secret = links.make(GO)
    return f"{proxy.url}/login/{secret.reveal()}", secret


async def test_the_secret_alone_opens_it_and_no_client_key_is_needed(proxy, link):
    async with proxy.session.get(link[0]) as response:
        page = await response.text()
    assert response.status == 200
    assert "app.kiro.dev/signin?a=1&amp;b=&quot;2&quot;" in page
    assert '<form method="post">' in page
    assert link[1].reveal() not in page


async def test_it_is_in_no_cache_no_frame_and_loads_nothing(proxy, link):
    async with proxy.session.get(link[0]) as response:
        headers, page = response.headers, await response.text()
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "same-origin"
    assert "<script" not in page
    assert 'rel="noopener noreferrer"' in page


@pytest.mark.parametrize("wrong", ["x" * 43, "x", "%00", "..%2f"])
async def test_another_secret_finds_nothing_whatever_key_comes_with_it(proxy, link, wrong):
    for send in (proxy.get(f"/login/{wrong}"), proxy.session.post(f"{proxy.url}/login/{wrong}", data={"address": "a"})):
        async with send as response:
            assert response.status == 404
            assert "app.kiro.dev" not in await response.text()


async def test_what_is_handed_in_reaches_the_terminal_and_no_address_of_the_page(proxy, links, link):
    async with proxy.session.post(link[0], data={"address": f" {ADDRESS}\n"}, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, f"/login/{link[1].reveal()}")
    assert links.answer(link[1]) == ADDRESS
    async with proxy.session.get(link[0]) as response:
        assert "handed to the terminal" in await response.text()


async def test_a_second_answer_changes_nothing(proxy, links, link):
    for address in (ADDRESS, "http://localhost/other"):
        async with proxy.session.post(link[0], data={"address": address}) as response:
            assert response.status == 200
    assert links.answer(link[1]) == ADDRESS


async def test_reading_the_page_changes_nothing(proxy, links, link):
    async with proxy.session.get(link[0], params={"address": ADDRESS}) as response:
        assert response.status == 200
    assert links.answer(link[1]) is None


ORIGINS = {
    "the page itself": ("self", 303),
    "no browser": (None, 303),
    "another site": ("https://evil.example", 403),
    "a page without one": ("null", 403),
    "another port": ("http://127.0.0.1:1", 403),
}


@pytest.mark.parametrize(("origin", "status"), ORIGINS.values(), ids=ORIGINS.keys())
async def test_only_its_own_form_may_hand_in(proxy, links, link, origin, status):
    headers = {"Origin": proxy.url if origin == "self" else origin} if origin else {}
    async with proxy.session.post(
        link[0], data={"address": ADDRESS}, headers=headers, allow_redirects=False
    ) as response:
        assert response.status == status
    assert (links.answer(link[1]) is not None) == (status == 303)


async def test_another_host_name_is_refused(proxy, links, link):
    for method in ("GET", "POST"):
        async with proxy.session.request(method, link[0], headers={"Host": "evil.example"}) as response:
            assert response.status == 403
            assert "app.kiro.dev" not in await response.text()


@pytest.mark.parametrize("data", [b"", b"other=1", b"address=", b"address=" + b"x" * 40_000], ids=lambda data: data[:9])
async def test_a_body_that_is_no_answer_is_none(proxy, links, link, data):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with proxy.session.post(link[0], data=data, headers=headers) as response:
        assert response.status == 200
    assert links.answer(link[1]) is None


async def test_a_code_is_shown_with_where_to_confirm_it_and_looked_at_again(proxy, links):
    secret = links.make(LinkPage("code", url="https://device.example/", code="<ABC>"))
    async with proxy.session.get(f"{proxy.url}/login/{secret.reveal()}") as response:
        page = await response.text()
    assert "&lt;ABC&gt;" in page
    assert 'http-equiv="refresh"' in page


async def test_the_end_is_told_and_not_looked_at_again(proxy, links, link):
    links.turn(link[1], LinkPage("done", "You are signed in."))
    async with proxy.session.get(link[0]) as response:
        page = await response.text()
    assert "You are signed in." in page
    assert "refresh" not in page


async def test_the_request_log_knows_nothing_of_it(proxy, link):
    async with proxy.session.get(link[0]):
        pass
    await proxy.runtime.log.flush()
    assert proxy.home.database.row("SELECT count(*) FROM requests")[0] == 0
