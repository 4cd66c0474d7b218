"""Requests of real shape, from a client's JSON to Kiro's bytes: what has to be in them."""

import json
from collections import Counter

import pytest

from kiro.conversation.messages import AnyTool
from kiro.emulator.validation import validate
from kiro.protocols import PROTOCOLS
from kiro.upstream.repair import repair
from support.conversion import CASES, Converted, runs

LATER = "the search itself is the server's affair; the detection is tested below"
SERVED_ELSEWHERE = {"A30": LATER}
INVENTED_SIGNATURES = {"A24"}
"""Their reasoning carries a signature the emulator did not make."""

RUNS = [
    pytest.param(case, request, expect, id=f"{case['id']} {case['title']} ({at})")
    for case in CASES
    if case["protocol"] in PROTOCOLS and case["id"] not in SERVED_ELSEWHERE
    for at, (request, expect) in enumerate(runs(case))
]


def test_no_case_is_left_out():
    """Nor any variant of one. What the server does about a forced search is tested with the server."""
    counted = Counter(case["protocol"] for case in CASES)
    assert counted == {"anthropic": 36, "openai_chat": 12, "openai_responses": 13, "gemini": 9}
    run = Counter(values[0]["id"] for values in (one.values for one in RUNS))
    for case in CASES:
        variants = 1 + ("also_with" in case) + len(case.get("variants", ()))
        assert run[case["id"]] == (0 if case["id"] in SERVED_ELSEWHERE else variants)


@pytest.mark.parametrize(("case", "request_", "expect"), RUNS)
class TestCases:
    def test_the_request_is_what_the_case_expects(self, case, request_, expect):
        converted = Converted(case["protocol"], request_, case.get("fixtures"), case.get("path"))
        broken = [line for line in expect if not converted.holds(line)]
        assert broken == [], converted.text[:3000] or converted.reject

    def test_kiro_would_take_it(self, case, request_, expect):
        converted = Converted(case["protocol"], request_, case.get("fixtures"), case.get("path"))
        if converted.kiro is None or case["id"] in INVENTED_SIGNATURES:
            return
        assert validate(converted.kiro.body) is None
        assert converted.alternates()
        assert converted.pairs_ok()

    def test_repaired_twice_is_repaired_once(self, case, request_, expect):
        conversation = Converted(case["protocol"], request_, case.get("fixtures"), case.get("path")).conversation
        if conversation is not None:
            assert repair(repair(conversation)) == repair(conversation)

    def test_the_same_request_makes_the_same_bytes(self, case, request_, expect):
        once, again = (Converted(case["protocol"], request_, case.get("fixtures"), case.get("path")) for _ in range(2))
        assert once.text == again.text


def test_a_forced_web_search_alone_is_recognised():
    """Claude Code's search side query: nothing but the search tool, and it is forced."""
    case = next(case for case in CASES if case["id"] == "A30")
    conversation = PROTOCOLS["anthropic"].parse(json.dumps(case["request"]).encode(), {}).conversation
    assert conversation.web_search is not None
    assert conversation.web_search.max_uses == 8
    assert conversation.tools == ()
    assert conversation.tool_choice == AnyTool(("web_search",))
