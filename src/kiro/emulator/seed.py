"""The sign-in `kiro demo` begins with: a fresh social account of the emulator, as the Kiro IDE would have stored it."""

from datetime import UTC, datetime

from kiro.emulator.accounts import Person
from kiro.emulator.server import Emulator


def demo_credentials(emulator: Emulator, name: str = "demo") -> dict[str, str]:
    """A new sign-in of the person called `name`, in the form of the IDE's kiro-auth-token.json."""
    person = emulator.people.persons.get(name) or emulator.people.add(name)
    return social_file(emulator, person)


def social_file(emulator: Emulator, person: Person) -> dict[str, str]:
    tokens = emulator.people.issue(person)
    expires = datetime.fromtimestamp(tokens.expires_at, UTC).isoformat(timespec="milliseconds")
    return {
        "accessToken": tokens.access,
        "refreshToken": tokens.refresh,
        "profileArn": person.profile_arn or "",
        "expiresAt": expires.replace("+00:00", "Z"),
        "authMethod": "social",
        "provider": "Google",
    }
