"""A sign-in as steps with no network, no clock and no terminal in them.

A flow is a generator: it yields what has to happen next and is sent what came of it; at its end it
returns the account. `flow.drive` does the steps. Failures on the way (the network) are thrown into
the flow, which alone knows whether they matter.
"""

from collections.abc import Generator, Mapping
from typing import Any, TypeAlias

import msgspec

from kiro.auth.http import HttpAsk
from kiro.auth.records import ImportedAccount
from kiro.errors import KiroError
from kiro.redaction import Secret


class Wait(msgspec.Struct, frozen=True):
    """Do nothing for so long. Answered with nothing."""

    seconds: float


class ShowCode(msgspec.Struct, frozen=True):
    """A code that the person confirms in any browser, at `link`; good for `expires_in_s`. Answered with nothing.

    `page` is the address without the code, where it has to be typed.
    """

    user_code: str
    link: str
    page: str
    expires_in_s: float

    def __repr__(self) -> str:
        return "ShowCode()"


class Listen(msgspec.Struct, frozen=True):
    """Wait for the browser on the first free of these ports of this computer; none: any free one.

    Answered with the port. A second `Listen` ends the first.
    """

    ports: tuple[int, ...] = ()


class Browse(msgspec.Struct, frozen=True):
    """Send the person's browser to `url`; it comes back with `state`. Answered with the `Callback`.

    `done_url` is where the browser is sent then, `failed_url` when it brings an error; empty: a short page of ours.
    """

    url: str
    state: Secret
    done_url: str = ""
    failed_url: str = ""

    def __repr__(self) -> str:
        return f"Browse({self.url.partition('?')[0]})"


class Callback(msgspec.Struct, frozen=True):
    """What the browser brought: path and query, whose `state` has been found right."""

    path: str
    query: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Callback({self.path})"


class Trust(msgspec.Struct, frozen=True):
    """Ask the person whether `host` is their company's sign-in. Answered with whether it is."""

    host: str


Step: TypeAlias = HttpAsk | Wait | ShowCode | Listen | Browse | Trust
Flow: TypeAlias = Generator[Step, Any, ImportedAccount]
"""HttpAsk is answered with an HttpReply, the others as they say."""


class SignInFailed(KiroError):
    """The sign-in did not come about. `reason` is the service's error code, or a word of ours."""

    exit_code = 1

    def __init__(self, message: str, *, reason: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
