"""Fixtures that more than one folder of tests uses."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from hypothesis import HealthCheck, settings

from kiro.emulator.server import Emulator
from support.asking import Asker
from support.clock import FakeClock
from support.proxy import Proxy, running_proxy

# A test says what is right, whatever else the machine does meanwhile.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


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


@pytest.fixture
async def kiro() -> AsyncIterator[Emulator]:
    """A Kiro on loopback whose tokens expire by the real clock."""
    async with Emulator() as running:
        yield running


@pytest.fixture
async def proxy(tmp_path: Path, kiro: Emulator) -> AsyncIterator[Proxy]:
    """The proxy with one account of that Kiro."""
    async with running_proxy(tmp_path, kiro) as running:
        yield running
