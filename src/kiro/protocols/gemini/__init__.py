"""Gemini generateContent: a row of PROTOCOLS, made of what the two files give."""

from kiro.protocols.gemini.errors import error
from kiro.protocols.gemini.request import parse, parse_count
from kiro.protocols.gemini.response import answer, count, model, models, renderer

name = "gemini"

__all__ = ["answer", "count", "error", "model", "models", "name", "parse", "parse_count", "renderer"]
