"""`kiro login key`, `token` and `sso-cookie`: sign in by something secret that the person has already.

It is read from a hidden prompt or from stdin, never from the command line, where other programs could see it.
"""

from typing import TYPE_CHECKING

import typer

from kiro.cli import importing, prompt, render, signing_in
from kiro.cli.opening import check_api_region, opened_home, run_async
from kiro.errors import KiroError, UsageError

if TYPE_CHECKING:
    from kiro.auth.records import ImportedAccount

_NAME = typer.Option(None, "--name", help="Name of the account.")


def key(
    name: str | None = _NAME,
    region: str | None = typer.Option(None, "--region", help="Region in which Kiro answers for it."),
    check: bool = typer.Option(False, "--check", help="Ask Kiro whether the key works."),
) -> None:
    """Add an account by a Kiro API key, made on the web page of your Kiro account.

    The key is read from a hidden prompt or from stdin, never from the command line, where other programs could see it.
    Example: `kiro login key < key.txt`.
    """
    imported = _keyed(prompt.secret("Kiro API key: "), region)
    with opened_home() as home:
        added = home.accounts.add(imported, name=name)
        render.note(f"{added.account.name} is {'updated' if added.merged else 'added'}.")
        if check:
            taken = importing.Taken(0, "added", added.account.id, added.account.name, added.account.kind)
            said = run_async(importing.check_online(home, [taken]))[0].checked
            if said != "works":
                raise KiroError(f"Kiro does not take the key: {said}")
            render.note("Kiro takes the key.")
            account = home.accounts.get(added.account.id)
            signing_in.show_account(account, account.usage.plan if account.usage is not None else None)


def _keyed(text: str, region: str | None) -> "ImportedAccount":
    from kiro.auth.credentials import ApiKeyCredentials
    from kiro.auth.records import ImportedAccount
    from kiro.redaction import Secret

    if not text:
        raise UsageError("No key was given.", hint="Type it at the prompt, or send it: `kiro login key < key.txt`.")
    if not text.startswith("ksk_") or not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError("This is not a Kiro API key.", hint="They begin with ksk_ and are made on app.kiro.dev.")
    if region is not None:
        check_api_region(region)
    return ImportedAccount(index=0, credentials=ApiKeyCredentials(api_key=Secret(text)), api_region=region)


def token(
    client_id: str | None = typer.Option(None, "--client-id", metavar="ID", help="Client the token was given to."),
    start_url: str | None = typer.Option(None, "--start-url", metavar="URL", help="Start URL of your company."),
    region: str | None = typer.Option(None, "--region", help="Region its Identity Center lives in."),
    token_endpoint: str | None = typer.Option(
        None, "--token-endpoint", metavar="URL", help="Token service of your company's own provider."
    ),
    name: str | None = _NAME,
) -> None:
    """Add an account by a refresh token, copied from another program.

    Alone it is taken for one of Google or GitHub. With --client-id it is one of AWS, and the client secret is asked
    for, too; with --token-endpoint and --client-id one of your company's provider. Both secrets come from a hidden
    prompt or from stdin, a line each. The token is used at once, which replaces it: the other program loses it.
    Example: `kiro login token < token.txt`.
    """
    from kiro.auth.pasted import Pasted, pasted_credentials, pasted_flow
    from kiro.auth.refresh import RefreshUrls
    from kiro.redaction import Secret

    text = prompt.secret("Refresh token: ")
    with_secret = client_id is not None and token_endpoint is None
    secret = prompt.secret("Client secret: ") if with_secret and text else ""
    given = Pasted(Secret(text), client_id, Secret(secret) if secret else None, start_url, region, token_endpoint)
    credentials = pasted_credentials(given)
    with opened_home() as home:
        auth = home.loaded.settings.auth
        urls = RefreshUrls(auth.social_url, auth.oidc_url, auth.external_hosts)
        signing_in.sign_in(home, pasted_flow(credentials, urls, signing_in.now), name)


def sso_cookie(
    yes: bool = typer.Option(False, "--yes", "-y", help="You have read the warning; do not ask."),
    name: str | None = _NAME,
) -> None:
    """Sign in with AWS Builder ID by the cookie of AWS's sign-in portal. `kiro login device` is the better way.

    The cookie `x-amz-sso_authn` of view.awsapps.com is a whole session of that portal. kiro uses it once to confirm
    its own code, and keeps neither it nor a trace of it. Read from a hidden prompt or from stdin.
    Example: `kiro login sso-cookie --yes < cookie.txt`.
    """
    from kiro.auth.oidc import place
    from kiro.auth.portal_cookie import checked_cookie, cookie_flow

    render.warning(
        "This cookie is a whole session of AWS's sign-in portal: whoever has it is you there, for everything your"
        " AWS sign-in opens, until the session ends. kiro scripts a page of AWS with it, which AWS may stop any day."
    )
    if not yes and not prompt.can_ask():
        raise UsageError("Nobody can answer here whether to go on.", hint="Add --yes, or use `kiro login device`.")
    if not yes:
        prompt.confirm("Go on with the cookie?", default=False)
    cookie = checked_cookie(prompt.secret("Value of the cookie x-amz-sso_authn: "))
    with opened_home() as home:
        at = place(None, None, home.loaded.settings.auth.oidc_url)
        signing_in.sign_in(home, cookie_flow(cookie, at, signing_in.now), name)
    render.note("Sign out on view.awsapps.com to end the session of the cookie.")
