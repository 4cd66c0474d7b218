"""A strict client of the Responses stream: what it makes of the bytes, failing on any breach of the grammar."""

import json

FIRST = ("response.created", "response.in_progress")
LAST = ("response.completed", "response.incomplete", "response.failed")
HEAD = {
    "id", "object", "created_at", "status", "model", "output", "usage", "error", "incomplete_details", "instructions",
    "metadata", "parallel_tool_calls", "previous_response_id", "reasoning", "service_tier", "store", "temperature",
    "text", "tool_choice", "tools", "top_p", "truncation", "user", "max_output_tokens", "background",
}  # fmt: skip
TEXTS = {
    "response.output_text": "text",
    "response.refusal": "refusal",
    "response.reasoning_summary_text": "text",
    "response.function_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
}


def records(data: bytes):
    """SSE bytes → list of documents, numbered without a gap."""
    assert data.endswith(b"\n\n")
    found = []
    for block in data.decode().split("\n\n")[:-1]:
        name, body = block.split("\n")
        assert name.startswith("event: ")
        assert body.startswith("data: ")
        document = json.loads(body[6:])
        assert document["type"] == name[7:]
        assert document["sequence_number"] == len(found)
        found.append(document)
    return found


class StrictClient:
    """Follows one stream; `response` is the last state, `items` those that were done, in order."""

    def __init__(self) -> None:
        self.response = None
        self.items = []
        self.open = None
        self.part = None
        self.texts = {}
        self.ended = False

    def read(self, data: bytes):
        for at, document in enumerate(records(data)):
            assert not self.ended, "nothing comes after the end"
            if at < len(FIRST):
                assert document["type"] == FIRST[at]
            self._take(document)
        assert self.ended
        return self

    def _take(self, document):
        kind = document["type"]
        if kind in FIRST:
            self.response = self._whole_state(document["response"])
            assert self.response["status"] == "in_progress"
        elif kind in LAST:
            self.response = self._whole_state(document["response"])
            assert self.response["status"] == kind.removeprefix("response.")
            assert self.response["output"] == self.items
            assert (self.response["error"] is not None) == (kind == "response.failed")
            assert (self.response["usage"] is None) == (kind == "response.failed")
            if kind != "response.failed":
                assert self.open is None
            self.ended = True
        elif kind == "response.keepalive":
            pass
        elif kind == "response.output_item.added":
            assert self.open is None
            assert document["output_index"] == len(self.items)
            assert document["item"]["id"] not in {item["id"] for item in self.items}
            assert document["item"].get("status") in ("in_progress", None)
            self.open = document["item"]
            self.texts = {}
        elif kind == "response.output_item.done":
            self._end_item(document)
        else:
            assert document["output_index"] == len(self.items)
            assert document["item_id"] == self.open["id"]
            self._inside(kind, document)

    def _whole_state(self, response):
        assert set(response) >= HEAD
        assert response["object"] == "response"
        assert self.response is None or response["id"] == self.response["id"]
        return response

    def _inside(self, kind, document):
        if kind.endswith("part.added"):
            assert self.part is None
            self.part = document["part"]
        elif kind.endswith("part.done"):
            assert self.part["type"] == document["part"]["type"]
            self.part = None
            text = document["part"].get("text", document["part"].get("refusal"))
            assert text == next(iter(self.texts.values()))
        elif kind.endswith(".delta"):
            assert document["delta"]
            stem = kind.removesuffix(".delta")
            if stem in ("response.output_text", "response.refusal", "response.reasoning_summary_text"):
                assert self.part is not None
            self.texts[stem] = self.texts.get(stem, "") + document["delta"]
        elif kind.removesuffix(".done") in TEXTS:
            stem = kind.removesuffix(".done")
            assert document[TEXTS[stem]] == self.texts.setdefault(stem, "")
        else:
            assert kind.startswith(("response.web_search_call.", "response.output_text.annotation."))

    def _end_item(self, document):
        item = document["item"]
        assert self.part is None
        assert document["output_index"] == len(self.items)
        assert (item["id"], item["type"]) == (self.open["id"], self.open["type"])
        assert item.get("status") in ("completed", "incomplete", "failed", None)
        streamed = next(iter(self.texts.values()), None)
        match item["type"]:
            case "message":
                (part,) = item["content"]
                assert streamed == (part["text"] if part["type"] == "output_text" else part["refusal"])
            case "function_call":
                assert streamed == item["arguments"]
            case "custom_tool_call":
                assert streamed == item["input"]
            case "reasoning":
                assert (streamed or "") == "".join(part["text"] for part in item["summary"])
        self.items.append(item)
        self.open = None
