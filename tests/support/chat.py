"""A strict client of Chat's stream: what it makes of the bytes, failing on any breach of the grammar.

An `id` in every chunk; the role first; a call announced by index, id and name before its arguments;
one chunk with a finish reason, usage only after it, then `[DONE]`; or an error, and neither of them.
"""

import json

NOW_S = 1_700_000_000


def records(data):
    """SSE bytes → documents, strictly; `[DONE]` as text."""
    assert data.endswith(b"\n\n")
    found = []
    for block in data.decode().split("\n\n")[:-1]:
        assert "\n" not in block
        assert block.startswith("data: ")
        found.append(block[6:] if block == "data: [DONE]" else json.loads(block[6:]))
    return found


def folded(found):
    """What a strict client makes of a stream, in the shape of a completion; fails on any breach of the grammar."""
    failure = found[-1]["error"] if isinstance(found[-1], dict) and "error" in found[-1] else None
    assert failure is not None or found[-1] == "[DONE]"
    message = {"role": None, "content": "", "refusal": None, "annotations": []}
    completion = {"usage": None, "finish_reason": None, "message": message, "id": found[0]["id"]}
    for chunk in found[:-1]:
        assert (chunk["id"], chunk["object"], chunk["created"]) == (completion["id"], "chat.completion.chunk", NOW_S)
        assert chunk["model"] == "claude-test"
        assert completion["usage"] is None
        if not chunk["choices"]:
            assert completion["finish_reason"] is not None
            completion["usage"] = chunk["usage"]
            continue
        assert "usage" not in chunk
        (choice,) = chunk["choices"]
        assert choice["index"] == 0
        assert completion["finish_reason"] is None
        assert set(choice) == {"index", "delta", "finish_reason"}
        add(message, choice["delta"])
        if choice["finish_reason"] is not None:
            assert choice["delta"] == {}
            completion["finish_reason"] = choice["finish_reason"]
    assert message["role"] == "assistant"
    if failure is not None:
        assert completion["finish_reason"] is None
        return {**completion, "error": failure}
    assert completion["finish_reason"] is not None
    if not message["content"] and (message.get("tool_calls") or message.get("function_call")):
        message["content"] = None
    return completion


def add(message, delta):
    for key, value in delta.items():
        if key == "role":
            assert message["role"] is None
            message["role"] = value
            continue
        assert message["role"] is not None
        if key in ("content", "reasoning_content"):
            assert isinstance(value, str)
            message[key] = message.get(key, "") + value
        elif key == "tool_calls":
            (call,) = value
            add_call(message.setdefault("tool_calls", []), call)
        elif key == "function_call":
            called = message.setdefault("function_call", {"name": "", "arguments": ""})
            called["name"] += value.get("name", "")
            called["arguments"] += value["arguments"]
        elif key == "reasoning_details":
            message.setdefault(key, []).extend(value)
        else:
            assert key in ("refusal", "annotations")
            message[key] = value


def add_call(calls, piece):
    if piece["index"] == len(calls):
        assert set(piece) == {"index", "id", "type", piece["type"]}
        calls.append({"id": piece["id"], "type": piece["type"], piece["type"]: dict(piece[piece["type"]])})
        return
    assert piece["index"] == len(calls) - 1
    assert set(piece) == {"index", "function"}
    assert set(piece["function"]) == {"arguments"}
    calls[-1]["function"]["arguments"] += piece["function"]["arguments"]
