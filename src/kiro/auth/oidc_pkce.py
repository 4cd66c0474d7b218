"""Sign-in in this computer's browser with AWS: Identity Center (or Builder ID), by authorization code and PKCE.

The browser comes back to a port of 127.0.0.1, any free one: AWS takes loopback addresses on every
port. The parameter is called `scopes`, not as in OAuth, and its values are joined by commas.
"""

from urllib.parse import urlencode

from kiro.auth.http import HttpReply
from kiro.auth.oidc import SCOPES, Clock, Place, check, read_registration, register_ask, signed_in, token_ask
from kiro.auth.pkce import Pkce, code_of
from kiro.auth.refresh import decoded
from kiro.auth.steps import Browse, Callback, Flow, Listen
from kiro.errors import UpstreamBroken


def pkce_flow(at: Place, now: Clock) -> Flow:
    """Sign in at `at`. Raises SignInFailed, or the UpstreamError that kept it from working."""
    port: int = yield Listen()
    redirect = f"http://127.0.0.1:{port}/oauth/callback"
    reply: HttpReply = yield register_ask(at, redirect_uri=redirect)
    client = read_registration(reply)
    pkce = Pkce.make()
    query = {
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": redirect,
        "scopes": ",".join(SCOPES),
        "state": pkce.state.reveal(),
        "code_challenge": pkce.challenge,
        "code_challenge_method": "S256",
    }
    callback: Callback = yield Browse(f"{at.base}/authorize?{urlencode(query)}", pkce.state)
    fields = {"code": code_of(callback), "codeVerifier": pkce.verifier.reveal(), "redirectUri": redirect}
    reply = yield token_ask(at, client, "authorization_code", fields)
    check(reply, "The sign-in")
    answer = decoded(reply.body)
    if answer is None:
        raise UpstreamBroken("The sign-in service gave an answer without tokens.")
    return signed_in(answer, at, client, now())
