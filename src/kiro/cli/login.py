"""`kiro login`: sign in with a Kiro account."""

from typing import TYPE_CHECKING, Final, Literal

import typer

from kiro.cli import login_by_secret, render, signing_in
from kiro.cli.browser import Browser
from kiro.cli.opening import opened_home
from kiro.cli.table import new_app
from kiro.errors import UsageError

if TYPE_CHECKING:
    from kiro.auth.social import SocialPlace
    from kiro.home import Home

app = new_app("Sign in with a Kiro account.\n\nExample: `kiro login device`.")

WAYS: Final = {
    "portal": "Kiro's page asks how.",
    "google": "Google.",
    "github": "GitHub.",
    "company": "Your company's own provider.",
    "sso": "Your company's Identity Center.",
    "device": "A code; AWS Builder ID, or Identity Center.",
}
"""How `kiro login remote` can sign in."""

_DEVICE = typer.Option(False, "--device", help="By a code, confirmed in any browser.")
_BROWSER = typer.Option(None, "--browser", metavar="NAME", help="Browser to open: firefox, chrome, edge, …")
_INCOGNITO = typer.Option(False, "--incognito", help="In a private window.")
_NO_BROWSER = typer.Option(False, "--no-browser", help="Open none; show the address.")
_NAME = typer.Option(None, "--name", help="Name of the account.")


@app.command()
def device(
    start_url: str | None = typer.Option(
        None, "--start-url", metavar="URL", help="Start URL of your company's Identity Center."
    ),
    region: str | None = typer.Option(None, "--region", help="Region that Identity Center lives in."),
    name: str | None = _NAME,
) -> None:
    """Sign in with AWS Builder ID, or your company's Identity Center, by a code confirmed in any browser.

    Needs no browser on this computer. Signing in again renews the account that is there.
    Example: `kiro login device --start-url https://d-1234567890.awsapps.com/start --region eu-west-1`.
    """
    from kiro.auth.device import device_flow
    from kiro.auth.oidc import place

    with opened_home() as home:
        at = place(start_url, region, home.loaded.settings.auth.oidc_url)
        signing_in.sign_in(home, device_flow(at, signing_in.now), name)


@app.command()
def google(
    device: bool = _DEVICE,
    browser: str | None = _BROWSER,
    incognito: bool = _INCOGNITO,
    no_browser: bool = _NO_BROWSER,
    name: str | None = _NAME,
) -> None:
    """Sign in with Google, in this computer's browser or by a code.

    Example: `kiro login google --device`.
    """
    shown = Browser(browser, wanted=not no_browser, by_code="kiro login google --device", private=incognito)
    _social("Google", shown, by_code=device, name=name)


@app.command()
def github(
    device: bool = _DEVICE,
    browser: str | None = _BROWSER,
    incognito: bool = _INCOGNITO,
    no_browser: bool = _NO_BROWSER,
    name: str | None = _NAME,
) -> None:
    """Sign in with GitHub, in this computer's browser or by a code.

    Example: `kiro login github`.
    """
    shown = Browser(browser, wanted=not no_browser, by_code="kiro login github --device", private=incognito)
    _social("Github", shown, by_code=device, name=name)


@app.command()
def company(
    browser: str | None = _BROWSER,
    incognito: bool = _INCOGNITO,
    no_browser: bool = _NO_BROWSER,
    name: str | None = _NAME,
) -> None:
    """Sign in with your company's own provider (Microsoft Entra, Okta, …), in this computer's browser.

    Kiro's page asks for your work email and names the provider. A host that kiro does not know is shown first.
    Example: `kiro login company`.
    """
    from kiro.auth.social import portal_flow

    shown = Browser(browser, wanted=not no_browser, by_code=None, private=incognito)
    with opened_home() as home:
        render.note("Choose your organization on the page that opens.")
        signing_in.sign_in(home, portal_flow(portal(home), signing_in.now), name, shown)


@app.command()
def sso(
    start_url: str = typer.Option(..., "--start-url", metavar="URL", help="Start URL of your company."),
    region: str = typer.Option(..., "--region", help="Region its Identity Center lives in."),
    *,
    browser: str | None = _BROWSER,
    incognito: bool = _INCOGNITO,
    no_browser: bool = _NO_BROWSER,
    name: str | None = _NAME,
) -> None:
    """Sign in with your company's Identity Center, in this computer's browser.

    Without a start URL, `kiro login company` finds out with your work email.
    Example: `kiro login sso --start-url https://d-1234567890.awsapps.com/start --region eu-west-1`.
    """
    from kiro.auth.oidc import place
    from kiro.auth.oidc_pkce import pkce_flow

    command = f"kiro login device --start-url {start_url} --region {region}"
    shown = Browser(browser, wanted=not no_browser, by_code=command, private=incognito)
    with opened_home() as home:
        at = place(start_url, region, home.loaded.settings.auth.oidc_url)
        signing_in.sign_in(home, pkce_flow(at, signing_in.now), name, shown)


@app.command()
def remote(
    way: str = typer.Argument("portal", metavar="[WAY]", help="portal, google, github, company, sso or device."),
    *,
    start_url: str | None = typer.Option(None, "--start-url", metavar="URL", help="Start URL of your company."),
    region: str | None = typer.Option(None, "--region", help="Region its Identity Center lives in."),
    name: str | None = _NAME,
) -> None:
    """Sign in where the browser is on another machine.

    The address the browser ends at is pasted here. Where `kiro serve` runs with the same home, a one-time link to it
    is shown, too, whose page takes the address; it is good for ten minutes. Without WAY the portal asks how to sign in.
    Example: `kiro login remote google`.
    """
    from kiro.auth.device import device_flow
    from kiro.auth.oidc import place
    from kiro.auth.oidc_pkce import pkce_flow
    from kiro.auth.social import portal_flow
    from kiro.cli.remote import Remote

    if way not in WAYS:
        raise UsageError(f"There is no way {way!r} to sign in.", hint=f"There are {', '.join(WAYS)}.")
    if way == "sso" and start_url is None:
        raise UsageError(
            "sso needs --start-url and --region.", hint="Without them `kiro login remote company` finds out."
        )
    with opened_home() as home:
        if way in ("sso", "device"):
            at = place(start_url, region, home.loaded.settings.auth.oidc_url)
            flow = pkce_flow(at, signing_in.now) if way == "sso" else device_flow(at, signing_in.now)
        else:
            flow = portal_flow(portal(home), signing_in.now)
        signing_in.sign_in(home, flow, name, Remote(home))


def _social(provider: Literal["Google", "Github"], shown: Browser, *, by_code: bool, name: str | None) -> None:
    from kiro.auth.social import portal_flow, social_device_flow

    with opened_home() as home:
        if by_code:
            signing_in.sign_in(home, social_device_flow(provider, portal(home), signing_in.now), name)
            return
        render.note(f"Choose {provider} on the page that opens.")
        signing_in.sign_in(home, portal_flow(portal(home), signing_in.now), name, shown)


def portal(home: "Home") -> "SocialPlace":
    """Kiro's portal, or what the settings put in its place."""
    from kiro.auth.social import SocialPlace

    auth = home.loaded.settings.auth
    return SocialPlace(auth.social_url, auth.oidc_url, auth.external_hosts)


app.command("key")(login_by_secret.key)
app.command("token")(login_by_secret.token)
app.command("sso-cookie")(login_by_secret.sso_cookie)
