"""Requests that build on what was said before, and what is kept for them."""

import json

import msgspec
import pytest

from kiro.conversation.collect import collect
from kiro.conversation.events import (
    Start,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from kiro.conversation.messages import Thinking
from kiro.errors import InvalidRequest
from kiro.protocols import openai_responses as dialect
from support.answers import finish
from support.conversations import assistant, call, result, user

NOW_S = 1_700_000_000.0
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
ANSWER = [
    Start(),
    ThinkingDelta("hm"),
    ThinkingEnd("kp1.claude.sig"),
    TextDelta("Looking."),
    ToolCallStart("c1", "f"),
    ToolCallDelta('{"a":1}'),
    ToolCallEnd(),
    finish("tool_use"),
]


def ask(given, **members):
    return dialect.parse(json.dumps({"model": "m", "input": given, "tools": [FUNCTION], **members}).encode(), {})


def stored(asked, answer_id="0" * 24, events=ANSWER):
    outcome = dialect.finished(asked, collect(events), answer_id, created_s=1)
    return dialect.to_store(asked, outcome, client_key="k", now=NOW_S)


FIRST = stored(ask("go"))
OUTPUT = [{"type": "function_call_output", "call_id": "c1", "output": "done"}]


def test_what_is_kept():
    assert (FIRST.id, FIRST.client_key, FIRST.created_at, FIRST.model, FIRST.kept) == (
        "resp_" + "0" * 24, "k", NOW_S, "m", True,
    )  # fmt: skip
    (item,) = json.loads(FIRST.input)
    assert item == {
        "id": f"msg_{'0' * 24}_i0",
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "go"}],
    }
    assert [item["type"] for item in json.loads(FIRST.output)] == ["reasoning", "message", "function_call"]
    shown = json.loads(FIRST.response)
    assert [item["type"] for item in shown["output"]] == ["message", "function_call"]


def test_half_a_character_is_kept_as_a_replacement():
    asked = dialect.parse(b'{"model":"m","input":[{"role":"user","content":"a\\ud83d"}]}', {})
    assert json.loads(stored(asked).input)[0]["content"][0]["text"] == "a\N{REPLACEMENT CHARACTER}"


def test_a_continued_response_comes_before_the_new_items():
    asked = ask(OUTPUT, previous_response_id=FIRST.id)
    assert dialect.needed(asked) == (FIRST.id,)
    joined = dialect.with_history(asked, FIRST)
    assert joined.conversation.messages == (
        user("go"),
        assistant(Thinking("hm", "kp1.claude.sig"), "Looking.", call("c1", "f", '{"a":1}')),
        user(result("c1", "done")),
    )


def test_a_chain_keeps_everything():
    second = dialect.with_history(ask(OUTPUT, previous_response_id=FIRST.id), FIRST)
    kept = stored(second, "1" * 24, [Start(), TextDelta("Done."), finish()])
    third = dialect.with_history(ask("more", previous_response_id=kept.id), kept)
    assert [message.role for message in third.conversation.messages] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    ids = [item["id"] for item in json.loads(kept.input)]
    assert len(set(ids)) == len(ids) == 5


def test_instructions_are_not_inherited():
    kept = stored(ask("go", instructions="Be kind."))
    joined = dialect.with_history(ask(OUTPUT, previous_response_id=kept.id, instructions="Be brief."), kept)
    assert joined.conversation.system == ("Be brief.",)


@pytest.mark.parametrize("found", [(), (stored(ask("go", store=False)),)], ids=["nowhere", "not to be kept"])
def test_a_missing_response_is_refused(found):
    with pytest.raises(InvalidRequest) as refused:
        dialect.with_history(ask(OUTPUT, previous_response_id=FIRST.id), *found)
    assert (refused.value.param, refused.value.code) == ("previous_response_id", "previous_response_not_found")


def test_of_a_response_that_is_not_stored_only_the_items_stay():
    kept = stored(ask("go", store=False))
    assert (kept.kept, kept.input, kept.response) == (False, b"[]", b"null")
    assert len(json.loads(kept.output)) == 3


def test_a_reference_becomes_the_item_it_names():
    kept = stored(ask("go", store=False))
    named = [item["id"] for item in json.loads(kept.output)]
    items = [{"role": "user", "content": "go"}, *({"type": "item_reference", "id": one} for one in named), *OUTPUT]
    asked = ask(items, store=False)
    assert dialect.needed(asked) == (kept.id,)
    assert asked.conversation.messages == (user("go"), user(result("c1", "done")))
    joined = dialect.with_history(asked, kept)
    assert (
        joined.conversation.messages
        == dialect.with_history(ask(OUTPUT, previous_response_id=FIRST.id), FIRST).conversation.messages
    )
    assert joined.notes == ()
    assert [
        item["type"] for item in json.loads(stored(msgspec.structs.replace(joined, body=ask(items).body)).input)
    ] == [
        "message",
        "reasoning",
        "message",
        "function_call",
        "function_call_output",
    ]


@pytest.mark.parametrize("name", ["rs_nope", "msg_68a1_3", "x"])
def test_a_reference_that_leads_nowhere_is_left_out_and_noted(name):
    asked = ask([{"type": "item_reference", "id": name}, {"role": "user", "content": "hi"}], store=False)
    joined = dialect.with_history(asked)
    assert joined.conversation.messages == (user("hi"),)
    assert name in joined.notes[0]


def test_a_compaction_has_the_earlier_turns_before_its_request():
    asked = ask([*OUTPUT, {"type": "compaction_trigger"}], previous_response_id=FIRST.id)
    joined = dialect.with_history(asked, FIRST)
    assert [message.role for message in joined.conversation.messages] == ["user", "assistant", "user", "user"]
    assert joined.conversation.tools == ()


class TestPages:
    ITEMS = tuple(msgspec.Raw(b'{"id":"i%d"}' % n) for n in range(5))

    @pytest.mark.parametrize(
        ("wish", "ids", "more"),
        [
            ({}, ["i4", "i3", "i2", "i1", "i0"], False),
            ({"newest_first": False, "limit": 2}, ["i0", "i1"], True),
            ({"after": "i3", "limit": 2}, ["i2", "i1"], True),
            ({"after": "i1"}, ["i0"], False),
            ({"after": "i0"}, [], False),
        ],
        ids=["all, the newest first", "the oldest two", "after an item", "the rest", "nothing left"],
    )
    def test_a_page_of_input_items(self, wish, ids, more):
        page = json.loads(dialect.item_list(self.ITEMS, **wish))
        assert [item["id"] for item in page["data"]] == ids
        assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
        assert (page["object"], page["has_more"]) == ("list", more)


def test_the_words_of_deletion_and_absence():
    assert json.loads(dialect.deleted("resp_1")) == {"id": "resp_1", "object": "response", "deleted": True}
    reply = dialect.error(dialect.unknown_response("resp_1"), "req_1")
    assert reply.status == 404
    assert "resp_1" in json.loads(reply.body)["error"]["message"]
