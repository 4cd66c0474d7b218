"""Fixtures that more than one folder of tests uses."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from kiro.emulator.server import Emulator
from support.asking import Asker
from support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def emulator(clock: FakeClock) -> AsyncIterator[Emulator]:
    """A Kiro on loopback that knows nobody yet; its tokens expire by `clock`."""
    async with Emulator(now=clock) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as opened:
        yield opened


@pytest.fixture
def asker(emulator: Emulator, session: aiohttp.ClientSession) -> Asker:
    """Somebody with a social account, signed in."""
    return Asker(emulator, session, emulator.people.add("first"))
