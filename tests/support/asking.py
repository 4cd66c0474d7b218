"""A plain aiohttp client of the emulator, as little of a Kiro client as possible."""

from typing import Any

import aiohttp

from kiro.emulator.accounts import Person
from kiro.emulator.server import Emulator
from support.bodies import Document, dump
from support.frames import Event, events


class Asker:
    """Talks to one emulator as one person, with a fresh token."""

    def __init__(self, emulator: Emulator, session: aiohttp.ClientSession, person: Person) -> None:
        self.emulator = emulator
        self.session = session
        self.person = person
        self.tokens = emulator.people.issue(person)

    @property
    def headers(self) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self.tokens.access}", "Content-Type": "application/json"}
        if self.person.token_type:
            headers["TokenType"] = self.person.token_type
        return headers

    def post(self, document: Document, *, target: str | None = None, headers: dict[str, str] | None = None) -> Any:
        """POST a conversation, adding the person's profile; use as `async with`."""
        if self.person.profile_arn:
            document = {"profileArn": self.person.profile_arn, **document}
        sent = self.headers
        path = "/generateAssistantResponse"
        if target is not None:
            path = "/"
            sent |= {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.0"}
        return self.session.post(self.emulator.url + path, data=dump(document), headers=sent | (headers or {}))

    async def stream(self, document: Document, *, target: str | None = None) -> list[Event]:
        """The events of an answer that comes through whole."""
        async with self.post(document, target=target) as response:
            data = await response.read()
            assert response.status == 200, data
            return events(data)

    async def refused(self, document: Document, **options: Any) -> tuple[int, dict[str, Any]]:
        async with self.post(document, **options) as response:
            return response.status, await response.json()
