"""Anthropic Messages: a row of PROTOCOLS, made of what the two files give."""

from kiro.protocols.anthropic.request import parse, parse_count
from kiro.protocols.anthropic.response import answer, count, error, model, models, renderer

name = "anthropic"

__all__ = ["answer", "count", "error", "model", "models", "name", "parse", "parse_count", "renderer"]
