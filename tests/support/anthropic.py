"""A strict client of Anthropic's stream: what it makes of the bytes, failing on any breach of the grammar.

The message starts first; blocks have the numbers 0, 1, 2 …, one is open at a time, and nothing of it
stands in its start; the stop reason comes after the last block, `message_stop` after that; or an
error, and nothing more.
"""

import json


def records(data: bytes):
    """SSE bytes → list of (event, document), strictly."""
    assert data.endswith(b"\n\n")
    found = []
    for block in data.decode().split("\n\n")[:-1]:
        name, body = block.split("\n")
        assert name.startswith("event: ")
        assert body.startswith("data: ")
        document = json.loads(body[6:])
        assert document["type"] == name[7:]
        found.append((name[7:], document))
    return found


def folded(found):
    """What a strict client makes of a stream; fails on any breach of the grammar."""
    message, blocks, open_index, ended = None, [], None, False
    for name, document in found:
        assert not ended, "nothing comes after the end"
        if name == "ping":
            continue
        if name == "message_start":
            assert message is None
            message = document["message"]
            assert message["content"] == []
            assert message["usage"]["input_tokens"] >= 0
            assert message["stop_reason"] is None
        elif name == "content_block_start":
            assert message is not None
            assert open_index is None
            assert document["index"] == len(blocks)
            open_index = document["index"]
            block = dict(document["content_block"])
            for member in ("text", "thinking", "signature"):
                assert not block.get(member)
            block["_json"] = ""
            blocks.append(block)
        elif name == "content_block_delta":
            assert document["index"] == open_index
            add(blocks[-1], document["delta"])
        elif name == "content_block_stop":
            assert document["index"] == open_index
            open_index = None
        elif name == "message_delta":
            assert open_index is None
            assert message["stop_reason"] is None
            message["stop_reason"] = document["delta"]["stop_reason"]
            message["stop_sequence"] = document["delta"]["stop_sequence"]
            message["usage"] = document["usage"]
        elif name == "message_stop":
            assert message["stop_reason"] is not None
            message["done"] = ended = True
        else:
            assert name == "error"
            message = {**(message or {}), "error": document["error"]}
            ended = True
    assert ended
    for block in blocks:
        text = block.pop("_json")
        if block["type"] in ("tool_use", "server_tool_use"):
            block["_text"] = text
    message["content"] = blocks
    return message


def add(block, delta):
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            assert not block["signature"]
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            assert not block["signature"]
            block["signature"] = delta["signature"]
        case "citations_delta":
            assert block["type"] == "text"
            block.setdefault("citations", []).append(delta["citation"])
        case "input_json_delta":
            block["_json"] += delta["partial_json"]
        case other:
            raise AssertionError(other)
