"""Broken histories and what becomes of them."""

import pytest
from hypothesis import given, settings

from kiro.conversation.messages import Document, Image, OutputFormat, RedactedThinking, Text, Thinking
from kiro.upstream.pairing import NO_RESULT
from kiro.upstream.repair import CONTINUE, CONTINUE_PREFILL, repair
from support.conversations import ONE_PIXEL, assistant, call, conversations, result, said, system, user

MISSING = result("t1", NO_RESULT, error=True)

CASES = {
    "what is right stays as it is": (
        [user("go"), assistant("ok", call("t1")), user(result("t1", "A"), "thanks")],
        [user("go"), assistant("ok", call("t1")), user(result("t1", "A"), "thanks")],
    ),
    "system text in the middle becomes a reminder in the next user turn": (
        [user("a"), assistant("b"), system("rule"), user("c")],
        [user("a"), assistant("b"), user("<system-reminder>\nrule\n</system-reminder>", "", "c")],
    ),
    "a system message at the end joins the results before it": (
        [user("a"), assistant(call("t1")), user(result("t1", "A")), system("rule")],
        [user("a"), assistant(call("t1")), user(result("t1", "A"), "<system-reminder>\nrule\n</system-reminder>")],
    ),
    "turns of one role merge with a blank line, and no turn is invented": (
        [user("one"), user("two"), assistant("x"), assistant("y"), user("z")],
        [user("one", "", "two"), assistant("x", "", "y"), user("z")],
    ),
    "a leading assistant gets a dot before it": (
        [assistant("Session started"), user("hello")],
        [user("."), assistant("Session started"), user("hello")],
    ),
    "results at the very beginning become text": (
        [user(result("gone", "old"), "next?")],
        [user("[result of an earlier tool call]", "old", "next?")],
    ),
    "a failed result without its call says that it failed": (
        [user(result("gone", "boom", error=True))],
        [user("[error of an earlier tool call]", "boom")],
    ),
    "a trailing assistant stays, and the current turn asks to continue": (
        [user("haiku"), assistant("Old pond,")],
        [user("haiku"), assistant("Old pond,"), user(CONTINUE_PREFILL)],
    ),
    "a trailing assistant with calls gets its results": (
        [user("go"), assistant(call("t1"))],
        [user("go"), assistant(call("t1")), user(MISSING)],
    ),
    "an id used twice is renamed in call and result": (
        [user("go"), assistant(call("x")), user(result("x", "A")), assistant(call("x")), user(result("x", "B"))],
        [user("go"), assistant(call("x")), user(result("x", "A")), assistant(call("x_2")), user(result("x_2", "B"))],
    ),
    "a renamed id does not meet one that exists": (
        [
            user("go"),
            assistant(call("x"), call("x"), call("x_2")),
            user(result("x", "A"), result("x", "B"), result("x_2", "C")),
        ],
        [
            user("go"),
            assistant(call("x"), call("x_3"), call("x_2")),
            user(result("x", "A"), result("x_3", "B"), result("x_2", "C")),
        ],
    ),
    "a call without result gets an error result": (
        [user("go"), assistant(call("t1"), call("t2")), user(result("t2", "B"), "[Request interrupted by user]")],
        [
            user("go"),
            assistant(call("t1"), call("t2")),
            user(MISSING, result("t2", "B"), "[Request interrupted by user]"),
        ],
    ),
    "a late result moves up to the turn after its call": (
        [user("go"), assistant(call("t1")), user("wait"), assistant("ok"), user(result("t1", "A"), "now")],
        [user("go"), assistant(call("t1")), user(result("t1", "A"), "wait"), assistant("ok"), user("now")],
    ),
    "several results for one call are joined, and one failure wins": (
        [user("go"), assistant(call("t1")), user(result("t1", "A"), result("t1", "B", error=True))],
        [user("go"), assistant(call("t1")), user(result("t1", "A", "B", error=True))],
    ),
    "results come in the order of the calls": (
        [user("go"), assistant(call("t1"), call("t2")), user(result("t2", "B"), result("t1", "A"))],
        [user("go"), assistant(call("t1"), call("t2")), user(result("t1", "A"), result("t2", "B"))],
    ),
    "results without ids are paired by name, then by order": (
        [
            user("go"),
            assistant(call("a", "f"), call("b", "g")),
            user(result("", "G", name="g"), result("", "F", name="f")),
        ],
        [
            user("go"),
            assistant(call("a", "f"), call("b", "g")),
            user(result("a", "F", name="f"), result("b", "G", name="g")),
        ],
    ),
    "an empty user turn in history is a blank": (
        [user("a"), assistant("b"), user(), assistant("c"), user("d")],
        [user("a"), assistant("b"), user(" "), assistant("c"), user("d")],
    ),
    "an empty current turn says continue": (
        [user("a"), assistant("b"), user("")],
        [user("a"), assistant("b"), user(CONTINUE)],
    ),
    "an assistant that only thought is dropped and its neighbours merge": (
        [user("a"), assistant(Thinking("hm", None), RedactedThinking("x")), user("b")],
        [user("a", "", "b")],
    ),
    "an input that is an object as text is parsed": (
        [user("a"), assistant(call("t1", given='"{\\"path\\":\\"a\\"}"')), user(result("t1", "A"))],
        [user("a"), assistant(call("t1", given='{"path":"a"}')), user(result("t1", "A"))],
    ),
    "any other input is wrapped": (
        [user("a"), assistant(call("t1", given="[1]")), user(result("t1", "A"))],
        [user("a"), assistant(call("t1", given='{"input":[1]}')), user(result("t1", "A"))],
    ),
    "half a character in an input is replaced": (
        [user("a"), assistant(call("t1", given='{"a":"\\ud83d"}')), user(result("t1", "A"))],
        [user("a"), assistant(call("t1", given='{"a":"\N{REPLACEMENT CHARACTER}"}')), user(result("t1", "A"))],
    ),
    "a picture of the assistant becomes a note": (
        [user("a"), assistant("look", Image(ONE_PIXEL, "image/png")), user("b")],
        [user("a"), assistant("look", "[image omitted]"), user("b")],
    ),
    "nothing at all becomes one turn": ([], [user(CONTINUE)]),
}


@pytest.mark.parametrize(("given_", "wanted"), CASES.values(), ids=CASES)
def test_history(given_, wanted):
    assert repair(said(*given_)).messages == tuple(wanted)


def test_what_is_right_is_not_even_copied():
    conversation = said(user("go"), assistant("ok", call("t1")), user(result("t1", "A")))
    assert repair(conversation) is conversation


@pytest.mark.parametrize("bad", ["call_1\nfc_2", "x" * 70, ""], ids=["a line break", "too long", "none"])
def test_an_illegal_id_is_replaced_on_both_sides(bad):
    _, asked, answered = repair(said(user("go"), assistant(call(bad)), user(result(bad, "A", name="Read")))).messages
    assert asked.parts[0].id == answered.parts[0].call_id
    assert asked.parts[0].id.replace("_", "a").isalnum()
    assert 0 < len(asked.parts[0].id) <= 64


def test_an_open_brace_as_prefill_asks_for_json():
    mended = repair(said(user("extract"), assistant("{")))
    assert mended.messages == (user("extract"),)
    assert mended.output_format == OutputFormat(None)


def test_documents_of_a_reminder_are_kept():
    mended = repair(said(user("a"), system(Document("t", "words"), Text("more"))))
    assert "words\nmore" in mended.messages[0].parts[-1].text


@settings(max_examples=300)
@given(conversations)
def test_repaired_twice_is_repaired_once(conversation):
    once = repair(conversation)
    assert repair(once) == once


@settings(max_examples=200)
@given(conversations)
def test_every_word_of_the_user_survives(conversation):
    words = [
        part.text
        for message in conversation.messages
        if message.role == "user"
        for part in message.parts
        if isinstance(part, Text)
    ]
    kept = [
        part.text
        for message in repair(conversation).messages
        if message.role == "user"
        for part in message.parts
        if isinstance(part, Text)
    ]
    assert [word for word in words if word.strip() and word not in kept] == []
