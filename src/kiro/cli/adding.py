"""`kiro accounts add`: asks which kind of account it is and how to sign in, then does what the direct command does."""

import os
from collections.abc import Callable
from typing import Final

import typer

from kiro.cli import importing, login, login_by_secret, prompt, render, scanning
from kiro.cli.browser import has_browser
from kiro.errors import UsageError

_DIRECT: Final = (
    "`kiro login device` (also google, github, sso, company, token, key), `kiro accounts import FILE` and"
    " `kiro accounts scan --add` ask nothing."
)


def add(name: str | None = typer.Option(None, "--name", help="Name of the account.")) -> None:
    """Add an account step by step: which kind it is, and how to sign in.

    Example: `kiro accounts add`.
    """
    if not prompt.can_ask():
        raise UsageError("Nobody can answer questions here.", hint=_DIRECT)
    render.note("What kind of account is it?")
    kinds = list(_KINDS)
    _KINDS[kinds[prompt.choose(kinds)]](name)


def _google(name: str | None) -> None:
    _social("google", login.google, name)


def _github(name: str | None) -> None:
    _social("github", login.github, name)


def _social(way: str, sign_in: Callable[..., None], name: str | None) -> None:
    match _where():
        case "here":
            sign_in(device=False, browser=None, incognito=False, no_browser=False, name=name)
        case "code":
            sign_in(device=True, browser=None, incognito=False, no_browser=False, name=name)
        case _:
            login.remote(way, start_url=None, region=None, name=name)


def _builder_id(name: str | None) -> None:
    login.device(start_url=None, region=None, name=name)


def _identity_center(name: str | None) -> None:
    start_url = _needed("Start URL (https://….awsapps.com/start): ")
    region = _needed("Region it lives in (such as eu-west-1): ")
    match _where():
        case "here":
            login.sso(start_url, region, browser=None, incognito=False, no_browser=False, name=name)
        case "code":
            login.device(start_url=start_url, region=region, name=name)
        case _:
            login.remote("sso", start_url=start_url, region=region, name=name)


def _company(name: str | None) -> None:
    if _where(by_code=False) == "here":
        login.company(browser=None, incognito=False, no_browser=False, name=name)
    else:
        login.remote("company", start_url=None, region=None, name=name)


def _api_key(name: str | None) -> None:
    login_by_secret.key(name=name, region=None, check=True)


def _token(name: str | None) -> None:
    render.note("Whose refresh token is it?")
    whose = prompt.choose(
        ["Google or GitHub", "AWS Builder ID", "Identity Center of a company", "a company's own provider"]
    )
    client_id = _needed("Client id it was given to: ") if whose else None
    start_url = _needed("Start URL (https://….awsapps.com/start): ") if whose == 2 else None
    region = _needed("Region it lives in (such as eu-west-1): ") if whose == 2 else None
    endpoint = _needed("Token service (https://…): ") if whose == 3 else None
    login_by_secret.token(client_id=client_id, start_url=start_url, region=region, token_endpoint=endpoint, name=name)


def _file(name: str | None) -> None:
    file = _needed("File: ")
    importing.import_(file, name=name, follow=False, mode=None, check=False, yes=False, as_json=False)


def _found(name: str | None) -> None:
    if name is not None:
        raise UsageError("--name fits one account.", hint="`kiro accounts rename` names what is found later.")
    scanning.scan(add=True, mode=None, check=True, as_json=False)


_KINDS: Final[dict[str, Callable[[str | None], None]]] = {
    "Google": _google,
    "GitHub": _github,
    "AWS Builder ID": _builder_id,
    "your company, by the start URL of its Identity Center": _identity_center,
    "your company, found by your work email (Microsoft Entra, Okta, …)": _company,
    "a sign-in of the Kiro IDE or CLI on this computer": _found,
    "a file of another program": _file,
    "a Kiro API key": _api_key,
    "a refresh token": _token,
}


def _where(*, by_code: bool = True) -> str:
    """`here`, `code` or `elsewhere`; what suits this computer comes first."""
    ways = [("here", "in this computer's browser")]
    if by_code:
        ways.insert(0 if not has_browser(os.environ) else 1, ("code", "by a code, confirmed in any browser"))
    ways.append(("elsewhere", "in the browser of another machine, without a code"))
    render.note("How do you want to sign in?")
    return ways[prompt.choose([words for _, words in ways])][0]


def _needed(question: str) -> str:
    while not (said := prompt.line(question)):
        render.note("This is needed. Ctrl-C stops.")
    return said
