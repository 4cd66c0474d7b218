"""A sign-in on a terminal: shows the code or the page, waits, finds profile and plan, adds the account.

What is said goes to stderr; the account at the end is the answer, on stdout. Secrets are said nowhere:
of a sign-in a person sees the code to confirm and the address to go to.
"""

import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kiro.cli import account_words, prompt, render
from kiro.cli.opening import ago, run_async, span
from kiro.errors import KiroError, SignInNeeded

if TYPE_CHECKING:
    from kiro.accounts.account import Account
    from kiro.accounts.joining import Joined
    from kiro.auth.http import HttpAsk, HttpReply, Send
    from kiro.auth.loopback import Loopback
    from kiro.auth.profiles import Profile
    from kiro.auth.records import ImportedAccount
    from kiro.auth.steps import Browse, Flow, ShowCode, Trust
    from kiro.home import Home


_TIMEOUT_S = 30.0


def now() -> datetime:
    return datetime.now(UTC)


class Screen:
    """What a person sees of a sign-in, and is asked, on this terminal. Use as `with`: it learns how the sign-in ended."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    async def show_code(self, step: "ShowCode") -> None:
        show_code(step)

    async def show_page(self, step: "Browse", listener: "Loopback") -> None:
        raise KiroError("This sign-in needs a browser.")

    async def agree(self, step: "Trust") -> bool:
        """Where nobody can answer the answer is no: a password would be typed there."""
        if not prompt.can_ask():
            return False
        render.note(f"The sign-in goes to {step.host}, which kiro does not know.")
        return prompt.agreed("Is that your company's?", default=False)


def sign_in(home: "Home", flow: "Flow", name: str | None, screen: Screen | None = None) -> None:
    """Do a sign-in to its end and show the account. Raises what kept it from coming about; nothing is changed then."""
    from kiro.accounts.naming import check_name

    if name is not None:
        check_name(name)
    _open_vault(home)
    with screen or Screen() as shown:
        joined = run_async(_joined(home, flow, shown))
        add(home, joined, name)


def add(home: "Home", joined: "Joined", name: str | None) -> None:
    """Add the account and show it. Raises SignInNeeded when it cannot be used for want of a profile."""
    from kiro.accounts.joining import add_joined

    added = add_joined(home.accounts, joined, name)
    account, limits = added.account, joined.limits
    render.note(f"{account.name} is {'renewed' if added.merged else 'added'}.")
    show_account(account, limits.plan if limits is not None else None)
    if joined.trouble is not None:
        render.warning(f"Kiro did not tell plan and credits: {joined.trouble.full_text()}")
    if joined.without_profile:
        raise SignInNeeded(
            f"{account.name} is signed in, but no Kiro profile was found for it.",
            hint="An administrator of your company has to give you a Kiro subscription; then sign in again.",
        )


def show_account(account: "Account", plan: str | None) -> None:
    """Who signed in, and what the plan holds."""
    pairs = [
        ("account", account.name),
        ("kind", account_words.kind_words(account.kind, account.provider)),
        ("email", account.email),
        ("profile", account.profile_arn),
        ("plan", plan),
        ("credits", account_words.credits_words(account)),
        ("credits renewed", ago(account.usage.resets_at) if account.usage is not None else None),
    ]
    render.fields([(label, value) for label, value in pairs if value])


@asynccontextmanager
async def opened_sender(home: "Home", timeout_s: float = _TIMEOUT_S) -> AsyncIterator["Send"]:
    """What brings requests to the sign-in services, through a request's own proxy or that of the settings."""
    from kiro.auth.http import HttpReply
    from kiro.upstream.client import KiroClient

    async with KiroClient(proxy=home.upstream_proxy(home.loaded.settings)) as client:

        async def send(ask: "HttpAsk") -> "HttpReply":
            proxy = ask.proxy.reveal() if ask.proxy is not None else None
            status, headers, body = await client.fetch(
                ask.method, ask.url, ask.headers, ask.body or None, proxy=proxy, timeout_s=timeout_s
            )
            return HttpReply(status, {key.lower(): value for key, value in headers.items()}, body)

        yield send


async def _joined(home: "Home", flow: "Flow", screen: Screen) -> "Joined":
    import asyncio

    from kiro.auth.flow import Hands, drive

    async with opened_sender(home) as send:
        hands = Hands(send, asyncio.sleep, screen.show_code, screen.show_page, screen.agree)
        imported = await drive(flow, hands)
    render.note("Signed in. Asking Kiro for the plan …")
    return await _join(home, imported)


async def _join(home: "Home", imported: "ImportedAccount") -> "Joined":
    from kiro.accounts.joining import join

    upstream = home.loaded.settings.upstream
    async with opened_sender(home) as send:
        return await join(imported, send, choose_profile, base_url=upstream.url, region=upstream.region)


def show_code(step: "ShowCode") -> None:
    render.note("Open this address in any browser, also on another device, and confirm the code:\n")
    render.note(f"    {step.link}")
    render.note(f"    code: {step.user_code}\n")
    picture = qr_code(step.link)
    if picture is not None:
        render.note(picture, style="black on white")
        render.note("")
    render.note(f"The code is good for {span(step.expires_in_s)}. Waiting; Ctrl-C stops.")


def qr_code(link: str) -> str | None:
    """The address as a picture for a phone's camera; `None` where the terminal cannot show it."""
    if not render.coloured(sys.stderr) or not (sys.stderr.encoding or "").lower().startswith("utf"):
        return None
    import segno

    rows = [[bool(cell & 1) for cell in row] for row in segno.make_qr(link, error="l").matrix_iter(border=2)]
    size = shutil.get_terminal_size()
    if len(rows[0]) > size.columns or len(rows) // 2 + 3 > size.lines:
        return None
    return half_blocks(rows)


def half_blocks(rows: Sequence[Sequence[bool]]) -> str:
    """Two rows of dots in one line of text."""
    padded = [*rows, [False] * len(rows[0])] if len(rows) % 2 else list(rows)
    pairs = zip(padded[::2], padded[1::2], strict=True)
    return "\n".join("".join(_BLOCKS[dots] for dots in zip(upper, lower, strict=True)) for upper, lower in pairs)


_BLOCKS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def choose_profile(profiles: "tuple[Profile, ...]") -> "Profile":
    """The person's choice; where nobody can answer the first, by name."""
    if not prompt.can_ask():
        render.note(f"There are {len(profiles)} Kiro profiles; the first one, {profiles[0].name}, is taken.")
        return profiles[0]
    render.note("Your company offers several Kiro profiles:")
    return profiles[prompt.choose([f"{profile.name} ({profile.region})" for profile in profiles])]


def _open_vault(home: "Home") -> None:
    """Has the passphrase asked for, or the vault made, before the sign-in: afterwards would be too late to fail."""
    home.vault.put("sign-in", "trial", b"")
    home.vault.remove("sign-in")
