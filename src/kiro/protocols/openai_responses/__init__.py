"""OpenAI Responses: a row of PROTOCOLS, and what the server needs beside it for stored responses and Codex."""

from kiro.protocols.openai import model, models
from kiro.protocols.openai_responses.failures import error, unknown_response
from kiro.protocols.openai_responses.history import deleted, item_list, needed, to_store, with_history
from kiro.protocols.openai_responses.manifest import codex_models
from kiro.protocols.openai_responses.request import ResponsesAsk, parse, parse_count
from kiro.protocols.openai_responses.response import count, failed_stream, renderer
from kiro.protocols.openai_responses.whole import answer, body_of, finished

name = "openai_responses"

__all__ = [
    "ResponsesAsk",
    "answer",
    "body_of",
    "codex_models",
    "count",
    "deleted",
    "error",
    "failed_stream",
    "finished",
    "item_list",
    "model",
    "models",
    "name",
    "needed",
    "parse",
    "parse_count",
    "renderer",
    "to_store",
    "unknown_response",
    "with_history",
]
