"""However many requests find a token dead at once, the sign-in service is asked once."""

import asyncio

import msgspec
import pytest

from kiro.emulator.faults import Hang
from support.proxy import running_proxy

MANY = 100
ASK = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "EMULATE: text=ok"}]}


async def answer(proxy):
    async with proxy.post("/v1/messages", ASK) as response:
        return response.status, (await response.json())["content"][0]["text"]


def forget_the_end(proxy):
    """Our clock says that the token has ended."""
    account = proxy.runtime.accounts[0]
    credentials = proxy.home.accounts.credentials(account.id)
    with proxy.home.accounts.lock(account.id):
        proxy.home.accounts.save_credentials(account.id, msgspec.structs.replace(credentials, expires_at=None))


@pytest.mark.parametrize("known", [True, False], ids=["the clock says so", "kiro says so"])
async def test_a_hundred_requests_make_one_refresh(tmp_path, kiro, known):
    async with running_proxy(tmp_path, kiro, flags={"pool.max_in_flight": MANY}) as proxy:
        if known:
            forget_the_end(proxy)
        kiro.people.expire(kiro.people.persons["first"])
        kiro.faults.add(Hang(ms=100), times=None, operation="refresh")
        answers = await asyncio.gather(*(answer(proxy) for _ in range(MANY)))
        assert answers == [(200, "ok")] * MANY
        assert len(kiro.seen("refresh")) == 1
        assert not proxy.runtime.turns.health(proxy.runtime.accounts[0].id).resting(kiro.now())
