"""The people the emulator knows: their tokens, what they may do, and how much of their credits is left.

`People` is the emulator's whole memory of sign-ins. It does no I/O and takes its clock from outside,
so a test can let a token expire by moving the clock. Tokens are made from a counter and a seed: they
look like the real ones and are worth nothing.
"""

import base64
import hashlib
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from kiro.emulator.models import MODELS, Model

Kind = Literal["social", "builder_id", "idc", "external_idp", "api_key"]

SOCIAL_ARN: Final = "arn:aws:codewhisperer:us-east-1:699475941385:profile/EHGA3GRVQMUK"
BUILDER_ID_ARN: Final = "arn:aws:codewhisperer:us-east-1:638616132270:profile/AAAACCCCXXXX"
TOKEN_LIFETIME_S: Final = 3600
_TOKEN_TYPE: Final[dict[Kind, str]] = {"external_idp": "EXTERNAL_IDP", "api_key": "API_KEY"}


def challenge_of(verifier: object) -> str:
    """The S256 challenge that a PKCE verifier answers."""
    digest = hashlib.sha256(str(verifier or "").encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def grant_code(kind: str, number: int) -> str:
    """An authorization code: as long as a secret is, so that a place where one is left can be found."""
    return f"{kind}-{number}-{hashlib.sha256(f'{kind} {number}'.encode()).hexdigest()[:16]}"


class Client(msgspec.Struct, frozen=True):
    """A registered OIDC client."""

    id: str
    secret: str


class Tokens(msgspec.Struct, frozen=True):
    """What a sign-in or a refresh hands out. `refresh` is `""` for an API key. `expires_at` in epoch seconds."""

    access: str
    refresh: str
    expires_at: float


class Person(msgspec.Struct, kw_only=True):
    """One account. Change its fields at will; the next request sees the change.

    `refuses_agents`: parts of a User-Agent that this person's plan does not support. `rotates`: a
    refresh hands out a new refresh token and kills the old one. `limit` and `used` in credits.
    """

    name: str
    kind: Kind
    profile_arn: str | None
    email: str
    client: Client | None = None
    models: tuple[Model, ...] = MODELS
    suspended: bool = False
    rotates: bool = True
    refuses_agents: tuple[str, ...] = ()
    limit: float = 1000.0
    used: float = 12.5
    overage: bool = False
    more_profiles: tuple[str, ...] = ()
    """ARNs of further profiles that a company offers this person."""
    without_profile: bool = False

    @property
    def token_type(self) -> str | None:
        """The `TokenType` header this kind has to send; `None` = none."""
        return _TOKEN_TYPE.get(self.kind)

    @property
    def exhausted(self) -> bool:
        return self.used >= self.limit and not self.overage


class People:
    """Everybody who may sign in, and every token ever handed out."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._count = 0
        self.persons: dict[str, Person] = {}
        self.clients: dict[str, Client] = {}
        self._access: dict[str, tuple[str, float]] = {}
        self._refresh: dict[str, str] = {}
        self.refreshes = 0
        """Successful refreshes, of all persons together."""

    def add(self, name: str, kind: Kind = "social", *, profile_arn: str | None = None) -> Person:
        """A new person. The profile ARN is the usual one of the kind unless given."""
        client = self.register() if kind in ("builder_id", "idc") else None
        arn = profile_arn or _usual_arn(kind, name)
        person = Person(name=name, kind=kind, profile_arn=arn, email=f"{name}@example.com", client=client)
        self.persons[name] = person
        return person

    def register(self) -> Client:
        """A new OIDC client, as RegisterClient makes one."""
        client = Client(self._make("client-"), self._make("secret-"))
        self.clients[client.id] = client
        return client

    def issue(self, person: Person, lifetime_s: float = TOKEN_LIFETIME_S) -> Tokens:
        """A fresh sign-in. Older tokens stay as good as they were."""
        if person.kind == "api_key":
            key = self._make("ksk_")[:36]
            self._access[key] = (person.name, float("inf"))
            return Tokens(key, "", float("inf"))
        return self._hand_out(person, self._make("aorAAAAAG"), lifetime_s)

    def refresh(self, refresh_token: str, lifetime_s: float = TOKEN_LIFETIME_S) -> tuple[Person, Tokens] | None:
        """New tokens for a refresh token, or `None` when it is unknown, used up or revoked."""
        name = self._refresh.get(refresh_token)
        if name is None:
            return None
        person = self.persons[name]
        self.refreshes += 1
        if not person.rotates:
            return person, self._hand_out(person, refresh_token, lifetime_s)
        del self._refresh[refresh_token]
        return person, self._hand_out(person, self._make("aorAAAAAG"), lifetime_s)

    def owner(self, access_token: str) -> Person | None:
        """Whose token this is; `None` when it is unknown or expired."""
        name, expires_at = self._access.get(access_token, ("", 0.0))
        return self.persons[name] if expires_at > self._now() else None

    def named_in(self, access_token: str) -> Person | None:
        """Whose token this is or was, expired or not. For faults and records, not for access."""
        name, _ = self._access.get(access_token, ("", 0.0))
        return self.persons.get(name)

    def holder(self, refresh_token: str) -> Person | None:
        """Whose refresh token this is, while it is good."""
        return self.persons.get(self._refresh.get(refresh_token, ""))

    def expire(self, person: Person) -> None:
        """Every access token of this person stops working; refreshing helps."""
        for token, (name, _) in list(self._access.items()):
            if name == person.name:
                self._access[token] = (name, 0.0)

    def revoke(self, person: Person) -> None:
        """The sign-in is dead: neither access nor refresh tokens work any more."""
        self.expire(person)
        for token in [token for token, name in self._refresh.items() if name == person.name]:
            del self._refresh[token]

    def _hand_out(self, person: Person, refresh: str, lifetime_s: float) -> Tokens:
        prefix = "eyJhbGciOiJub25lIn0.e30." if person.kind == "external_idp" else "aoaAAAAAG"
        tokens = Tokens(self._make(prefix), refresh, self._now() + lifetime_s)
        self._access[tokens.access] = (person.name, tokens.expires_at)
        self._refresh[refresh] = person.name
        return tokens

    def _make(self, prefix: str) -> str:
        self._count += 1
        digest = hashlib.sha512(f"{prefix}{self._count}".encode()).hexdigest()
        return f"{prefix}EMULATOR{self._count:04d}{digest}"


def _usual_arn(kind: Kind, name: str) -> str | None:
    match kind:
        case "social":
            return SOCIAL_ARN
        case "builder_id":
            return BUILDER_ID_ARN
        case "api_key":
            return None
        case "idc" | "external_idp":
            digest = hashlib.sha256(name.encode()).hexdigest()[:12].upper()
            return f"arn:aws:codewhisperer:us-east-1:111122223333:profile/{digest}"
