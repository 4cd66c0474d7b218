"""Requests in the shape of real clients: each is served, and what they say is with Kiro.

Cases: `path`, `headers` and `body` as the client sends them; `tools` are the names Kiro is offered,
`sent` and `absent` texts that are, or are not, in what it is sent; `answer` is in what the client gets.
"""

import json
from pathlib import Path

import pytest

from support.asked import joined, texts_in

FOLDER = Path(__file__).parents[1] / "cases" / "clients"
CASES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_it_is_served(proxy, kiro, case):
    headers = {name: value.replace("KEY", proxy.key) for name, value in case["headers"].items()}
    if "x-goog-api-key" not in headers:
        headers["Authorization"] = f"Bearer {proxy.key}"
    async with proxy.post(case["path"], case["body"], headers=headers, key=None) as response:
        data = await response.text()
        assert response.status == 200, data
    assert case["answer"] in data + joined(data)
    requests = [one.document() for one in reversed(kiro.seen("generate"))]
    told = [text for request in requests for text in texts_in(request)]
    for text in case["sent"]:
        assert any(text in one for one in told), text
    for text in case["absent"]:
        assert not any(text in json.dumps(one) for one in told), text
    if "tools" in case:
        context = requests[0]["conversationState"]["currentMessage"]["userInputMessage"]["userInputMessageContext"]
        assert [tool["toolSpecification"]["name"] for tool in context["tools"]] == case["tools"]
