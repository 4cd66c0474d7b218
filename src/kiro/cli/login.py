"""`kiro login`: sign in with a Kiro account."""

from typing import TYPE_CHECKING, Literal

import typer

from kiro.cli import importing, prompt, render, signing_in
from kiro.cli.browser import Browser
from kiro.cli.opening import opened_home, run_async
from kiro.cli.table import new_app
from kiro.errors import KiroError, UsageError

if TYPE_CHECKING:
    from kiro.auth.records import ImportedAccount

app = new_app("Sign in with a Kiro account.\n\nExample: `kiro login device`.")

_DEVICE = typer.Option(False, "--device", help="By a code, confirmed in any browser.")
_BROWSER = typer.Option(None, "--browser", metavar="NAME", help="Browser to open, such as firefox.")
_NO_BROWSER = typer.Option(False, "--no-browser", help="Open none; show the address.")
_NAME = typer.Option(None, "--name", help="Name of the account.")


@app.command()
def device(
    start_url: str = typer.Option(
        None, "--start-url", metavar="URL", help="Start URL of your company's Identity Center."
    ),
    region: str = typer.Option(None, "--region", help="Region that Identity Center lives in."),
    name: str = _NAME,
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
def google(device: bool = _DEVICE, browser: str = _BROWSER, no_browser: bool = _NO_BROWSER, name: str = _NAME) -> None:
    """Sign in with Google, in this computer's browser or by a code.

    Example: `kiro login google --device`.
    """
    _social("Google", by_code=device, browser=browser, no_browser=no_browser, name=name)


@app.command()
def github(device: bool = _DEVICE, browser: str = _BROWSER, no_browser: bool = _NO_BROWSER, name: str = _NAME) -> None:
    """Sign in with GitHub, in this computer's browser or by a code.

    Example: `kiro login github`.
    """
    _social("Github", by_code=device, browser=browser, no_browser=no_browser, name=name)


@app.command()
def sso(
    start_url: str = typer.Option(..., "--start-url", metavar="URL", help="Start URL of your company."),
    region: str = typer.Option(..., "--region", help="Region its Identity Center lives in."),
    browser: str = _BROWSER,
    no_browser: bool = _NO_BROWSER,
    name: str = _NAME,
) -> None:
    """Sign in with your company's Identity Center, in this computer's browser.

    Example: `kiro login sso --start-url https://d-1234567890.awsapps.com/start --region eu-west-1`.
    """
    from kiro.auth.oidc import place
    from kiro.auth.oidc_pkce import pkce_flow

    command = f"kiro login device --start-url {start_url} --region {region}"
    shown = Browser(browser, wanted=not no_browser, by_code=command)
    with opened_home() as home:
        at = place(start_url, region, home.loaded.settings.auth.oidc_url)
        signing_in.sign_in(home, pkce_flow(at, signing_in.now), name, shown.show)


def _social(
    provider: Literal["Google", "Github"], *, by_code: bool, browser: str | None, no_browser: bool, name: str | None
) -> None:
    from kiro.auth.social import SocialPlace, portal_flow, social_device_flow

    with opened_home() as home:
        auth = home.loaded.settings.auth
        at = SocialPlace(auth.social_url, auth.oidc_url)
        if by_code:
            signing_in.sign_in(home, social_device_flow(provider, at, signing_in.now), name)
            return
        shown = Browser(browser, wanted=not no_browser, by_code=f"kiro login {provider.lower()} --device")
        render.note(f"Choose {provider} on the page that opens.")
        signing_in.sign_in(home, portal_flow(at, signing_in.now), name, shown.show)


@app.command()
def key(
    name: str = typer.Option(None, "--name", help="Name of the account."),
    region: str = typer.Option(None, "--region", help="Region in which Kiro answers for it."),
    check: bool = typer.Option(False, "--check", help="Ask Kiro whether the key works."),
) -> None:
    """Add an account by a Kiro API key, made on the web page of your Kiro account.

    The key is read from a hidden prompt or from stdin, never from the command line, where other programs could see it.
    Example: `kiro login key < key.txt`.
    """
    imported = _imported(prompt.secret("Kiro API key: "), region)
    with opened_home() as home:
        added = home.accounts.add(imported, name=name)
        render.note(f"{added.account.name} is {'updated' if added.merged else 'added'}.")
        if check:
            taken = importing.Taken(0, "added", added.account.id, added.account.name, added.account.kind)
            said = run_async(importing.check_online(home, [taken]))[0].checked
            if said != "works":
                raise KiroError(f"Kiro does not take the key: {said}")
            render.note("Kiro takes the key.")


def _imported(text: str, region: str | None) -> "ImportedAccount":
    from kiro.auth.credentials import ApiKeyCredentials
    from kiro.auth.records import API_REGIONS, ImportedAccount
    from kiro.redaction import Secret

    if not text:
        raise UsageError("No key was given.", hint="Type it at the prompt, or send it: `kiro login key < key.txt`.")
    if not text.startswith("ksk_") or not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError("This is not a Kiro API key.", hint="They begin with ksk_ and are made on app.kiro.dev.")
    if region is not None and region not in API_REGIONS:
        raise UsageError(f"Kiro does not answer in {region!r}.", hint=f"It does in {', '.join(sorted(API_REGIONS))}.")
    return ImportedAccount(index=0, credentials=ApiKeyCredentials(api_key=Secret(text)), api_region=region)
