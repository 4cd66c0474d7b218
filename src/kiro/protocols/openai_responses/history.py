"""What a store adds to a request, and what it gets of a response.

`needed` names the stored responses a request builds on; the server fetches them and `with_history`
joins them, both pure. Ids of items carry the id of their response, so a reference to an item finds its
response without an index. Instructions are not inherited; items are.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from kiro.protocols.openai_responses import body as wire
from kiro.protocols.openai_responses.failures import previous_not_found
from kiro.protocols.openai_responses.request import ResponsesAsk, build, items_of
from kiro.protocols.openai_responses.shapes import Outcome
from kiro.reading import read
from kiro.storage.responses_store import StoredResponse

_ITEM_ID: Final = re.compile(r"[a-z]+_(.+?)_i?\d+\Z")
_PREFIXES: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "compaction": "cmp",
}

_encode = msgspec.json.Encoder().encode
_decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_input_decoder = msgspec.json.Decoder(str | list[dict[str, Any]])


class _Id(msgspec.Struct):
    id: str | None = None


_decode_id = msgspec.json.Decoder(_Id).decode


def needed(ask: ResponsesAsk) -> tuple[str, ...]:
    """Ids of the stored responses this request builds on; empty for most requests."""
    ids = [ask.previous_response_id] if ask.previous_response_id else []
    ids += [f"resp_{found.group(1)}" for item in ask.references if (found := _ITEM_ID.match(item))]
    return tuple(dict.fromkeys(ids))


def with_history(ask: ResponsesAsk, *stored: StoredResponse) -> ResponsesAsk:
    """The request with what it builds on: earlier items before its own, references replaced by what they name.

    Raises InvalidRequest when the response to continue is missing, or was not to be kept. A reference
    that leads nowhere is left out, with a note.
    """
    previous: StoredResponse | None = None
    if ask.previous_response_id:
        previous = next((one for one in stored if one.id == ask.previous_response_id and one.kept), None)
        if previous is None:
            raise previous_not_found(ask.previous_response_id)
    earlier = (*_decode_raws(previous.input), *_decode_raws(previous.output)) if previous is not None else ()
    wanted = set(ask.references)
    resolved = {
        item_id: raw
        for one in stored
        for raw in (*_decode_raws(one.input), *_decode_raws(one.output))
        if (item_id := _decode_id(raw).id) in wanted and item_id is not None
    }
    own = [_resolved(item, resolved) for item in items_of(ask.body)]
    items = [*wire.read_items(_encode(earlier)), *own]
    conversation, declared, notes = build(ask.body, items, ask.session, compact=ask.compact)
    return msgspec.structs.replace(
        ask, conversation=conversation, declared=declared, notes=notes, earlier=earlier, resolved=resolved
    )


def _resolved(item: wire.Item, resolved: dict[str, msgspec.Raw]) -> wire.Item:
    raw = resolved.get(item.id or "") if item.type == "item_reference" else None
    return item if raw is None else wire.read_items(_encode([raw]))[0]


def to_store(ask: ResponsesAsk, outcome: Outcome, *, client_key: str | None, now: float) -> StoredResponse:
    """What is kept. Of a response that is not to be stored only its items, for the references of the next minutes."""
    response_id: str = outcome.response["id"]
    kept = ask.store and not ask.bare
    return StoredResponse(
        id=response_id,
        client_key=client_key,
        created_at=now,
        model=ask.conversation.model,
        kept=kept,
        input=_encode([*ask.earlier, *_own_items(ask, response_id)]) if kept else b"[]",
        output=_encode(outcome.items),
        response=_encode(outcome.response) if kept else b"null",
    )


def _own_items(ask: ResponsesAsk, response_id: str) -> list[Any]:
    """The request's items as they were sent, each with an id and a type, references replaced."""
    raw = wire.given(ask.echo.input)
    given = read(_input_decoder, bytes(raw)) if raw is not None else []
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    stem = response_id.removeprefix("resp_")
    return [_own_item(item, ask, f"{stem}_i{at}") for at, item in enumerate(items)]


def _own_item(item: dict[str, Any], ask: ResponsesAsk, tail: str) -> Any:
    if item.get("type") == "item_reference":
        return ask.resolved.get(item.get("id", ""), item)
    kind = item.get("type") or "message"
    full = {**item, "type": kind}
    if not full.get("id"):
        full["id"] = f"{_PREFIXES.get(kind, 'item')}_{tail}"
    if kind == "message" and isinstance(full.get("content"), str):
        part = "output_text" if full.get("role") == "assistant" else "input_text"
        full["content"] = [{"type": part, "text": full["content"]}]
    return full


def item_list(
    items: Iterable[msgspec.Raw], *, after: str | None = None, limit: int = 20, newest_first: bool = True
) -> bytes:
    """A page of `GET /responses/{id}/input_items`. `after` is an item's id; at most 100 items a page."""
    listed = list(items)
    if newest_first:
        listed.reverse()
    ids = [_decode_id(raw).id for raw in listed]
    begin = ids.index(after) + 1 if after in ids else 0
    end = begin + max(1, min(limit, 100))
    page = ids[begin:end]
    return _encode(
        {
            "object": "list",
            "data": listed[begin:end],
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
            "has_more": end < len(listed),
        }
    )


def deleted(response_id: str) -> bytes:
    """The answer to `DELETE /responses/{id}`."""
    return _encode({"id": response_id, "object": "response", "deleted": True})
