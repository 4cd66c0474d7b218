"""OpenAI Chat Completions: a row of PROTOCOLS, made of what the two files give."""

from kiro.protocols.openai import model, models
from kiro.protocols.openai_chat.request import parse, parse_count
from kiro.protocols.openai_chat.response import answer, count, error, renderer

name = "openai_chat"

__all__ = ["answer", "count", "error", "model", "models", "name", "parse", "parse_count", "renderer"]
