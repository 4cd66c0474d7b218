"""The page behind a one-time link: where to sign in, and a form for the address the browser ended at.

Only the link's secret opens it; no client key does, and no other page of the server leads here. What is
handed in goes to the terminal that waits for it, which alone can use it. The page is one piece of HTML
without scripts; it loads nothing, may be in no frame, and is in no cache.
"""

import asyncio
from html import escape
from typing import Final
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from kiro.errors import ForbiddenOrigin, KiroError
from kiro.redaction import Secret
from kiro.server import guards
from kiro.server.answer import RUNTIME
from kiro.storage.login_links import LinkPage, LoginLinks

PATH: Final = "/login/{secret}"
_MOST_BYTES: Final = 32_768
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
"""`same-origin`: the sign-in page elsewhere learns nothing of the link, and our own form still tells its origin."""
_FRAME: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">{again}
<title>kiro: sign in</title>
<style>
body {{ font: 1.1em/1.5 system-ui, sans-serif; max-width: 36em; margin: 3em auto; padding: 0 1em; color-scheme: light dark }}
input {{ font: inherit; width: 100%; box-sizing: border-box; padding: .4em }}
button {{ font: inherit; margin-top: .6em; padding: .4em 1.2em }}
code {{ font-size: 1.4em; letter-spacing: .1em }}
</style></head>
<body><h1>Sign in for kiro</h1>
{body}
</body></html>
"""
_AGAIN: Final = '<meta http-equiv="refresh" content="2">'
_GONE: Final = "This link is used up, too old, or was never one. `kiro login remote` makes another."


async def show(request: web.Request) -> web.Response:
    """`GET`: the page as it is now."""
    try:
        guards.check_host(request.host, request.app[RUNTIME].settings)
        page = await asyncio.to_thread(_links(request).page, _secret(request))
    except KiroError as error:
        return _answer(LinkPage("failed", error.message), error.status)
    return _answer(LinkPage("failed", _GONE), 404) if page is None else _answer(page)


async def take(request: web.Request) -> web.Response:
    """`POST`: the address from the form; then the page again."""
    try:
        guards.check_host(request.host, request.app[RUNTIME].settings)
        _check_origin(request)
        address = await _address(request)
        taken = await asyncio.to_thread(_links(request).hand_in, _secret(request), address)
        page = None if taken else await asyncio.to_thread(_links(request).page, _secret(request))
    except KiroError as error:
        return _answer(LinkPage("failed", error.message), error.status)
    if not taken and page is None:
        return _answer(LinkPage("failed", _GONE), 404)
    return web.Response(status=303, headers={**_HEADERS, "Location": request.path})


def _links(request: web.Request) -> LoginLinks:
    return LoginLinks(request.app[RUNTIME].home.database)


def _secret(request: web.Request) -> Secret:
    return Secret(request.match_info["secret"])


def _check_origin(request: web.Request) -> None:
    """A form of another site is refused; a program that is no browser tells no origin."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
        raise ForbiddenOrigin("This form came from another page.")


async def _address(request: web.Request) -> str:
    """What was typed; empty for a body that is no form of ours."""
    body = bytearray()
    async for chunk in request.content.iter_chunked(_MOST_BYTES):
        body += chunk
        if len(body) > _MOST_BYTES:
            return ""
    return parse_qs(body.decode("utf-8", "replace")).get("address", [""])[0].strip()


def _answer(page: LinkPage, status: int = 200) -> web.Response:
    again = _AGAIN if page.kind in ("wait", "code") else ""
    text = _FRAME.format(again=again, body=_body(page))
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=_HEADERS)


def _body(page: LinkPage) -> str:
    url, text = escape(page.url), f"<p>{escape(page.text)}</p>" if page.text else ""
    link = f'<a href="{url}" target="_blank" rel="noopener noreferrer">Open the sign-in page</a>'
    match page.kind:
        case "browse":
            return (
                f"{text}<p>1. {link} and sign in there.</p>"
                "<p>2. At its end the browser shows an address that begins with <b>http://localhost</b> or"
                " <b>http://127.0.0.1</b> and probably cannot open it. Copy that address here:</p>"
                '<form method="post"><input name="address" aria-label="address" autocomplete="off" required autofocus>'
                "<button>Finish</button></form>"
            )
        case "code":
            return f"{text}<p>{link} and confirm this code:</p><p><code>{escape(page.code)}</code></p>"
        case _:
            return text
