"""What a browser sees of the sign-in services. Most pages send it on at once, as if the person had said yes.

`SignIn.portal_waits` makes the portal a page to click on, with one link for each way to sign in.
"""

from html import escape
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from kiro.emulator.signin import SignIn
from kiro.emulator.traffic import Recorded

_OPTIONS: Final = {
    "google": "Google",
    "github": "GitHub",
    "builderid": "AWS Builder ID",
    "awsidc": "Your organization",
    "external_idp": "Your company's provider",
}
_PAGE: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1>{body}</html>'
)


def browse(sign_in: SignIn, recorded: Recorded) -> web.Response | None:
    """The page at an address of the sign-in services; `None` for any other address."""
    query = recorded.query
    if recorded.path == "/authorize":
        return _leads(recorded, sign_in.authorize(query))
    if recorded.path.endswith("/oauth2/v2.0/authorize"):
        return _leads(recorded, sign_in.company.authorize(query))
    if recorded.path != "/signin":
        return None
    if "auth_status" in query:
        good = query["auth_status"] == "success"
        return _shows(recorded, "You are signed in" if good else "The sign-in failed")
    if sign_in.portal_waits and "option" not in query:
        links = "".join(
            f'<p><a href="/signin?{escape(urlencode({**query, "option": option}))}">{name}</a></p>'
            for option, name in _OPTIONS.items()
        )
        return _shows(recorded, "Choose a way to sign in", links)
    return _leads(recorded, sign_in.portal(query))


def _leads(recorded: Recorded, target: str) -> web.Response:
    recorded.status = 302
    return web.Response(status=302, headers={"Location": target})


def _shows(recorded: Recorded, title: str, body: str = "") -> web.Response:
    recorded.status = 200
    return web.Response(text=_PAGE.format(title=title, body=body), content_type="text/html")
