"""What Anthropic's stream and whole message have in common: searches and citations, stop reasons, usage."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

from kiro.conversation.citing import cited
from kiro.conversation.events import Finish, SearchHit, SearchResult, Usage

_CITED_CHARS: Final = 150


def search_result(result: SearchResult) -> dict[str, Any]:
    content: Any = [
        {
            "type": "web_search_result",
            "title": hit.title,
            "url": hit.url,
            "encrypted_content": hit.snippet,
            "page_age": _age(hit.published_ms),
        }
        for hit in result.hits
    ]
    if result.error is not None:
        content = {"type": "web_search_tool_result_error", "error_code": result.error}
    return {"type": "web_search_tool_result", "tool_use_id": result.id, "content": content}


def _age(published_ms: int | None) -> str | None:
    """When a page was published, as Anthropic writes it: `April 30, 2025`."""
    if published_ms is None:
        return None
    day = dt.datetime.fromtimestamp(published_ms / 1000, dt.UTC)
    return f"{day:%B} {day.day}, {day.year}"


def citations(text: str, hits: Sequence[SearchHit]) -> list[dict[str, Any]]:
    """`encrypted_index` is for Anthropic's servers, which never see it."""
    return [
        {
            "type": "web_search_result_location",
            "url": one.hit.url,
            "title": one.hit.title,
            "encrypted_index": str(number),
            "cited_text": one.hit.snippet[:_CITED_CHARS],
        }
        for number, one in enumerate(cited(text, hits))
    ]


def stop(finish: Finish) -> dict[str, Any]:
    stop: dict[str, Any] = {"stop_reason": finish.reason, "stop_sequence": finish.stop_sequence}
    if finish.refusal is not None:
        stop["stop_details"] = {"type": "refusal", "explanation": finish.refusal}
    return stop


def usage_document(usage: Usage) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }
    if usage.searches:
        numbers["server_tool_use"] = {"web_search_requests": usage.searches}
    return numbers
