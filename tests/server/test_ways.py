"""The way to Kiro: by which proxy, for whom, and that its password stays where it belongs."""

import asyncio
import logging

import pytest

from kiro.home import log_to_file
from support.forward import Forward
from support.proxy import running_proxy

BODY = {"model": "claude-sonnet-4-5", "max_tokens": 5000, "messages": [{"role": "user", "content": "hi"}]}
PASSWORD = "s3cr3t-of-the-proxy"
LOGIN = ("me", PASSWORD)
SCHEMES = ("http", "socks5", "socks5h")


@pytest.fixture
async def way():
    async with Forward(LOGIN) as running:
        yield running


def login(way, scheme="http", password=PASSWORD):
    return way.url(scheme, f"me:{password}")


async def ask(proxy, path=""):
    async with proxy.post(f"{path}/v1/messages", BODY) as response:
        return response.status, await response.json()


async def noticed(proxy):
    """What the watch does when another process has changed something, without waiting for its second."""
    if await asyncio.to_thread(proxy.runtime._look):
        proxy.runtime.keeper.forget()
        proxy.runtime.turns.refresh()


async def everything(proxy, kiro, name="first"):
    """A chat, a refresh, the credits and the models of one account; what Kiro was asked for."""
    account = proxy.home.accounts.get(name)
    before = len(kiro.requests)
    kiro.people.expire(kiro.people.persons[name])
    status, told = await ask(proxy, f"/a/{name}")
    assert status == 200, told
    await proxy.runtime.questions.look_up_usage(account.id)
    await proxy.runtime.models.refresh(account.id, force=True)
    return {one.operation for one in list(kiro.requests)[: len(kiro.requests) - before]}


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_an_accounts_own_proxy_is_its_way_for_everything(tmp_path, kiro, way, scheme):
    async with running_proxy(tmp_path, kiro, people=("first", "second")) as proxy:
        proxy.home.accounts.set_proxy("first", login(way, scheme))
        asked = await everything(proxy, kiro)
        assert asked == {"generate", "refresh", "usage", "models"}
        through = len(way.used)
        assert through >= (4 if scheme == "http" else 1)
        assert set(way.used) == {(f"me:{PASSWORD}", kiro.url.removeprefix("http://"))}
        await everything(proxy, kiro, "second")
        assert len(way.used) == through


async def test_a_proxy_for_all_rules_where_an_account_has_none_of_its_own(tmp_path, kiro, way):
    async with Forward() as own:
        flags = {"upstream.proxy": login(way)}
        async with running_proxy(tmp_path, kiro, people=("first", "second", "third"), flags=flags) as proxy:
            proxy.home.accounts.set_proxy("second", own.url("http"))
            proxy.home.accounts.set_proxy("third", "direct")
            await everything(proxy, kiro, "first")
            assert (len(way.used) >= 4, own.used) == (True, [])
            before = len(way.used)
            await everything(proxy, kiro, "second")
            await everything(proxy, kiro, "third")
            assert len(way.used) == before
            assert len(own.used) >= 4


async def test_a_change_while_serving_is_followed_by_the_next_request(tmp_path, kiro, way):
    async with running_proxy(tmp_path, kiro) as proxy, Forward() as other:
        assert (await ask(proxy))[0] == 200
        proxy.home.accounts.set_proxy("first", login(way))
        await noticed(proxy)
        assert (await ask(proxy))[0] == 200
        assert len(way.used) == 1
        proxy.home.accounts.set_proxy("first", other.url("socks5"))
        await noticed(proxy)
        assert (await ask(proxy))[0] == 200
        assert (len(way.used), len(other.used)) == (1, 1)
        proxy.home.accounts.set_proxy("first", None)
        await noticed(proxy)
        assert (await ask(proxy))[0] == 200
        assert (len(way.used), len(other.used)) == (1, 1)


async def test_a_changed_setting_is_followed_by_the_next_request(tmp_path, kiro, way):
    async with running_proxy(tmp_path, kiro) as proxy:
        assert (await ask(proxy))[0] == 200
        proxy.home.paths.config_file.write_text(f'[upstream]\nproxy = "{login(way)}"\n')
        await noticed(proxy)
        assert (await ask(proxy))[0] == 200
        assert len(way.used) == 1


REFUSED = {
    "a wrong password": ("http", "wrong"),
    "a wrong password by SOCKS": ("socks5", "wrong"),
}


@pytest.mark.parametrize(("scheme", "password"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_proxy_that_refuses_says_so_and_the_account_is_not_to_blame(tmp_path, kiro, way, scheme, password):
    async with running_proxy(tmp_path, kiro) as proxy:
        proxy.home.accounts.set_proxy("first", login(way, scheme, password))
        status, told = await ask(proxy)
        assert status == 502
        assert "kiro" in told["error"]["message"].lower()
        assert password not in told["error"]["message"]
        assert way.refused
        assert proxy.runtime.turns.serves(proxy.home.accounts.get("first").id)


async def test_a_refused_tunnel_is_told_in_the_same_words(tmp_path, kiro, way):
    """An encrypted way goes through a tunnel, which the proxy refuses before anything is encrypted."""
    flags = {"upstream.url": "https://127.0.0.1:9"}
    async with running_proxy(tmp_path, kiro, flags=flags) as proxy:
        proxy.home.accounts.set_proxy("first", login(way, password="wrong-one"))
        status, told = await ask(proxy)
        assert status == 502
        assert "The proxy on the way to Kiro refuses its user name and password." in told["error"]["message"]
        assert "wrong-one" not in told["error"]["message"]


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "socks5://127.0.0.1"])
async def test_a_proxy_that_is_not_there_is_a_failure_of_the_network(tmp_path, kiro, address):
    async with running_proxy(tmp_path, kiro) as proxy:
        proxy.home.accounts.set_proxy("first", address)
        status, told = await ask(proxy)
        assert status == 502
        assert "Kiro cannot be reached" in told["error"]["message"]


@pytest.fixture
def log_file():
    """What a test has added to the root logger is taken away again."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in [one for one in root.handlers if one not in before]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_the_password_is_in_no_file_and_no_answer(tmp_path, kiro, way, scheme, log_file):
    async with running_proxy(tmp_path, kiro, flags={"log.level": "debug"}) as proxy:
        log_to_file(proxy.home)
        for password in (PASSWORD, f"wrong-{PASSWORD}"):
            proxy.home.accounts.set_proxy("first", login(way, scheme, password))
            await noticed(proxy)
            _, told = await ask(proxy)
            assert PASSWORD not in str(told)
        logging.getLogger("kiro").warning("the way is %s", login(way, scheme))
        assert PASSWORD not in str(await proxy.last_row())
        assert PASSWORD not in repr(proxy.home.accounts.get("first"))
    assert "the way is" in proxy.home.paths.log_file.read_text()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path
