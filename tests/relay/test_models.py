"""Which models there are: asked of Kiro, kept over restarts, and what may be said on the strength of it."""

import time

import msgspec
import pytest

from kiro.errors import UnknownModel, UpstreamBroken
from kiro.relay.models import ModelShelf
from kiro.upstream.catalogue import KNOWN_MODELS, Model

SONNET, OPUS, ODD = Model("claude-sonnet-4.5"), Model("claude-opus-5", window=1_000_000), Model("odd-1")
HOUR_S = 3600


class Kiro:
    """Lists by account; an exception in place of a list is raised. Remembers who asked."""

    def __init__(self, **lists):
        self.lists = lists
        self.asked = []

    async def ask(self, account_id):
        self.asked.append(account_id)
        found = self.lists[account_id]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def file(tmp_path):
    return tmp_path / "models.json"


def kept(file, age_s, **lists):
    """What an earlier run left."""
    copies = {name: {"asked_at": time.time() - age_s, "models": models} for name, models in lists.items()}
    file.write_bytes(msgspec.json.encode(copies))


def shelf_of(kiro, file, **settings):
    shelf = ModelShelf(kiro.ask, file)
    shelf.configure(**{"aliases": {}, "hidden": (), "suffix": "-thinking"} | settings)
    return shelf


async def test_before_anybody_asked_the_built_in_table_serves_and_forbids_nothing(file):
    shelf = shelf_of(Kiro(), file)
    assert set(shelf.known()) == {model.id for model in KNOWN_MODELS}
    assert not shelf.live
    assert shelf.resolve("claude-nova-9")[0].id == "claude-nova-9"


@pytest.mark.parametrize(
    "name", ["claude-nova-9\nx", "claude-nova-9\r\nX-Evil: 1", "claude-nova-9\x00", "claude-\ud83d"]
)
async def test_a_name_that_would_break_a_header_is_no_model_s(file, name):
    with pytest.raises(UnknownModel):
        shelf_of(Kiro(), file).resolve(name)


async def test_kiro_is_asked_once_an_hour(file):
    kiro = Kiro(a=(SONNET,))
    shelf = shelf_of(kiro, file)
    for _ in range(3):
        await shelf.refresh("a")
    assert kiro.asked == ["a"]
    assert shelf.live
    await shelf.refresh("a", force=True)
    assert kiro.asked == ["a", "a"]


async def test_an_old_copy_is_asked_for_again(file):
    kept(file, HOUR_S + 1, a=(SONNET,))
    kiro = Kiro(a=(SONNET, OPUS))
    shelf = shelf_of(kiro, file)
    assert set(shelf.known()) == {SONNET.id}
    await shelf.refresh("a")
    assert set(shelf.known()) == {SONNET.id, OPUS.id}


async def test_the_union_of_all_accounts_is_shown_but_for_the_hidden(file):
    kiro = Kiro(a=(SONNET,), b=(SONNET, OPUS))
    shelf = shelf_of(kiro, file, hidden=(SONNET.id,))
    for account in ("a", "b"):
        await shelf.refresh(account)
    assert set(shelf.known()) == {SONNET.id, OPUS.id}
    assert [model.id for model in shelf.shown()] == [OPUS.id]
    assert (shelf.offers("a", OPUS.id), shelf.offers("b", OPUS.id), shelf.offers("new", OPUS.id)) == (False, True, True)
    assert shelf.lacking(OPUS.id) == {"a"}
    assert shelf.lacking(SONNET.id) == frozenset()


async def test_the_last_good_copy_outlives_restarts_and_failures(file):
    shelf = shelf_of(Kiro(a=(ODD,)), file)
    await shelf.refresh("a")
    broken = Kiro(a=UpstreamBroken("Kiro is down."))
    again = shelf_of(broken, file)
    await again.refresh("a", force=False)
    assert broken.asked == []
    with pytest.raises(UpstreamBroken):
        await again.refresh("a", force=True)
    assert set(again.known()) == {ODD.id}
    assert again.resolve("odd-1")[0] == ODD


async def test_a_failure_is_not_asked_for_again_at_once(file):
    kept(file, 2 * HOUR_S, a=(ODD,))
    kiro = Kiro(a=UpstreamBroken("Kiro is down."))
    shelf = shelf_of(kiro, file)
    for _ in range(3):
        await shelf.refresh("a")
    assert kiro.asked == ["a"]
    assert set(shelf.known()) == {ODD.id}


async def test_an_empty_list_is_no_list(file):
    kept(file, 2 * HOUR_S, a=(ODD,))
    shelf = shelf_of(Kiro(a=()), file)
    await shelf.refresh("a")
    assert set(shelf.known()) == {ODD.id}


async def test_a_damaged_copy_is_none(file):
    file.write_text("{")
    assert set(shelf_of(Kiro(), file).known()) == {model.id for model in KNOWN_MODELS}


async def test_only_a_fresh_list_may_say_that_there_is_no_such_model(file):
    kept(file, 2 * HOUR_S, a=(SONNET,))
    shelf = shelf_of(Kiro(a=(SONNET, OPUS)), file)
    assert shelf.resolve("claude-opus-9")[0].id == "claude-opus-9"
    await shelf.refresh("a")
    with pytest.raises(UnknownModel) as raised:
        shelf.resolve("claude-opus-9")
    assert raised.value.hint == "Did you mean claude-opus-5 or claude-sonnet-4.5?"
    with pytest.raises(UnknownModel) as raised:
        shelf.resolve("xyzzy")
    assert "kiro models" in raised.value.hint


async def test_a_new_list_changes_what_a_name_means(file):
    kiro = Kiro(a=(SONNET,))
    shelf = shelf_of(kiro, file)
    await shelf.refresh("a")
    assert shelf.resolve("sonnet")[0].id == SONNET.id
    kiro.lists["a"] = (SONNET, Model("claude-sonnet-6"))
    await shelf.refresh("a", force=True)
    assert shelf.resolve("sonnet")[0].id == "claude-sonnet-6"


async def test_names_of_other_vendors_are_stood_in_for_unless_switched_off(file):
    shelf = shelf_of(Kiro(a=(SONNET, OPUS)), file)
    await shelf.refresh("a")
    assert shelf.resolve("gpt-4o")[0].id == SONNET.id
    shelf.configure(aliases={"gpt-4o": "claude-opus-5"}, hidden=(), suffix="")
    assert shelf.resolve("gpt-4o")[0].id == OPUS.id
    shelf.configure(aliases={}, hidden=(), suffix="", compat=False)
    with pytest.raises(UnknownModel):
        shelf.resolve("gpt-4o")
