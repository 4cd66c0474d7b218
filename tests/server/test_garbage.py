"""An answer that is over leaves nothing to the collector, which looks rarely: it would hold whole conversations until then."""

import gc
import json

import pytest

TOOL = {
    "name": "go",
    "description": "Goes.",
    "input_schema": {"type": "object", "properties": {"to": {"type": "string"}}},
}
SAYS = "Test.\nEMULATE: text=Hello there.\nEMULATE: end"
CALLS = 'Test.\nEMULATE: tool=go input={"to": "there"}\nEMULATE: end'

ASKED = {
    "an answer": {},
    "a call": {"messages": [{"role": "user", "content": CALLS}], "tools": [TOOL]},
    "a forced call": {
        "messages": [{"role": "user", "content": CALLS}],
        "tools": [TOOL],
        "tool_choice": {"type": "tool", "name": "go"},
    },
    "a search": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    "an unknown model": {"model": "no-such-model"},
}


@pytest.fixture
def left_behind():
    """Objects of ours that only the collector would have freed since the last look."""

    def look():
        gc.collect()
        ours = [type(one).__qualname__ for one in gc.garbage if _is_ours(type(one).__module__)]
        gc.garbage.clear()
        return sorted(set(ours))

    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield look
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def _is_ours(module):
    return module.startswith("kiro.") and not module.startswith("kiro.emulator")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
async def test_an_answer_leaves_no_circles_behind(proxy, left_behind, asked, stream):
    document = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 5000,
        "messages": [{"role": "user", "content": SAYS}],
        "stream": stream,
        **asked,
    }
    for _ in range(2):
        async with proxy.post("/v1/messages", json.dumps(document).encode()) as response:
            await response.read()
        left = left_behind()
    assert left == []
