"""A strict client of Gemini's stream: what it makes of the bytes, failing on any breach of the grammar.

No empty text and no empty list of parts; calls whole and with an id; exactly one finish reason, in the
last chunk, with the usage; or an error in its place.
"""

import base64
import json


def records(data):
    """SSE bytes → documents, strictly."""
    assert data.endswith(b"\n\n")
    found = []
    for block in data.decode().split("\n\n")[:-1]:
        assert "\n" not in block
        assert block.startswith("data: ")
        found.append(json.loads(block[6:]))
    return found


def folded(found):
    """What a strict client makes of a stream, in the shape of a response; fails on any breach of the grammar."""
    parts, last = [], None
    failure = found[-1].get("error")
    for chunk in found if failure is None else found[:-1]:
        assert last is None, "nothing comes after the finish reason"
        assert (chunk["modelVersion"], chunk["responseId"]) == ("claude-test", "0123")
        (candidate,) = chunk["candidates"]
        assert candidate["index"] == 0
        assert candidate["content"]["role"] == "model"
        assert candidate["content"].get("parts", [{}]) != []
        if "finishReason" in candidate:
            last = chunk
            assert "usageMetadata" in chunk
            assert parts == [] or "parts" in candidate["content"]
        else:
            assert "usageMetadata" not in chunk
        for part in candidate["content"].get("parts", []):
            add(parts, part)
    if failure is not None:
        assert last is None
        return {"parts": parts, "error": failure}
    assert last is not None
    (candidate,) = last["candidates"]
    content = {"role": "model", "parts": parts} if parts else {"role": "model"}
    return {**last, "candidates": [{**candidate, "content": content}]}


def add(parts, part):
    assert set(part) <= {"text", "thought", "thoughtSignature", "functionCall"}
    assert ("text" in part) != ("functionCall" in part)
    assert part.get("text") != ""
    if "thoughtSignature" in part:
        base64.b64decode(part["thoughtSignature"], validate=True)
    if "functionCall" in part:
        assert isinstance(part["functionCall"]["args"], dict)
        assert part["functionCall"]["id"]
    before = parts[-1] if parts else {}
    same = "text" in part and "text" in before and part.get("thought") == before.get("thought")
    if same and ("thoughtSignature" not in part or "thought" in part):
        before.update({**part, "text": before["text"] + part["text"]})
    else:
        parts.append(dict(part))
