"""Fetching what a client links to, and refusing to be led into the local network."""

import asyncio
import ipaddress

import pytest
from aiohttp import web

from kiro.upstream import fetch
from kiro.upstream.fetch import fetch_all, is_public
from kiro.upstream.media import Fetched, NotFetched


@pytest.fixture
async def site():
    """A small site on loopback; gives its address."""

    async def cat(_):
        return web.Response(body=b"picture", content_type="image/png")

    async def large(_):
        return web.Response(body=b"x" * (fetch.MAX_BYTES + 1))

    async def hop(request):
        left = int(request.match_info["left"])
        raise web.HTTPFound(f"/hop/{left - 1}" if left else "/cat")

    async def away(_):
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data")

    async def to_file(_):
        raise web.HTTPFound("file:///etc/passwd")

    async def slow(_):
        await asyncio.sleep(5)
        return web.Response()

    app = web.Application()
    app.router.add_get("/cat", cat)
    app.router.add_get("/large", large)
    app.router.add_get("/hop/{left}", hop)
    app.router.add_get("/away", away)
    app.router.add_get("/file", to_file)
    app.router.add_get("/slow", slow)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def loopback_only(address):
    return address.is_loopback


async def fetched(url, is_allowed=loopback_only, **more):
    return (await fetch_all([url], is_allowed=is_allowed, **more))[url]


async def test_a_picture_is_fetched(site):
    assert await fetched(f"{site}/cat") == Fetched(b"picture", "image/png")


async def test_a_name_is_resolved_and_judged(site):
    by_name = site.replace("127.0.0.1", "localhost")
    assert await fetched(f"{by_name}/cat") == Fetched(b"picture", "image/png")
    assert await fetched(f"{by_name}/cat", is_public) == NotFetched("it is not a public address")


async def test_three_redirects_are_followed(site):
    assert await fetched(f"{site}/hop/2") == Fetched(b"picture", "image/png")
    assert await fetched(f"{site}/hop/3") == NotFetched("more than 3 redirects")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/away", "it is not a public address"),
        ("/file", "only http and https addresses are fetched"),
        ("/missing", "status 404"),
        ("/large", "more than 10 MB"),
    ],
    ids=["a redirect to a private address", "a redirect to a file", "nothing there", "too large"],
)
async def test_why_not(site, path, why):
    assert await fetched(site + path) == NotFetched(why)


async def test_a_slow_server_is_given_up(site):
    assert await fetched(f"{site}/slow", max_seconds=0.2) == NotFetched("no answer within 0 seconds")


async def test_a_server_that_is_not_there_is_told():
    assert await fetched("http://127.0.0.1:9/") == NotFetched("the server cannot be reached")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://10.0.0.1/",
        "http://2130706433/",
        "http://localhost/",
        "ftp://example.com/",
        "x",
        "http://[bad/",
        "http://169.254.169.254/",
    ],
)
async def test_these_are_never_tried(url):
    assert isinstance(await fetched(url, is_public), NotFetched)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("fd00::1", False),
        ("fe80::1", False),
    ],
)
def test_public(address, public):
    assert is_public(ipaddress.ip_address(address)) is public


async def test_nothing_to_fetch_opens_nothing():
    assert await fetch_all([]) == {}


async def test_too_many_addresses_are_refused_beyond_the_limit():
    urls = [f"ftp://{n}" for n in range(25)]
    found = await fetch_all(urls)
    assert list(found) == urls
    assert found[urls[-1]] == NotFetched("too many addresses in one request")
