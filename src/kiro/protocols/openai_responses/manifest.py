"""The model list as Codex asks for it (`GET /models?client_version=…`), with what it has to know of each model.

Without such a list Codex takes every unknown model for one with a window of 272,000 tokens. It reads
the list strictly: one missing member, and it takes none of it. The members were seen in Codex 0.98.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kiro.protocols.base import ModelCard

_EFFORTS: Final = {
    "low": "Fast, with little thinking",
    "medium": "Some thinking",
    "high": "Much thinking",
    "xhigh": "Most thinking",
}
_INSTRUCTIONS: Final = """\
You are a coding agent in the user's terminal, working in their workspace through the tools you are given. \
Read before you change. Keep changes small and in the style of the code around them. Use `apply_patch` to \
edit files where it is offered. Run what can be run to check your work. Follow AGENTS.md files. Do not undo \
changes you did not make. Go on until the task is done; then tell briefly what you did and what is left."""


def codex_models(cards: Sequence[ModelCard]) -> bytes:
    return msgspec.json.encode({"models": [_model(card, at) for at, card in enumerate(cards)]})


def _model(card: ModelCard, priority: int) -> dict[str, Any]:
    levels = [{"effort": effort, "description": words} for effort, words in _EFFORTS.items()] if card.thinking else []
    return {
        "slug": card.id,
        "display_name": card.name,
        "description": f"{card.name}, through Kiro",
        "default_reasoning_level": "medium" if card.thinking else None,
        "supported_reasoning_levels": levels,
        "shell_type": "shell_command",
        "visibility": "list",
        "supported_in_api": True,
        "priority": priority,
        "availability_nux": None,
        "upgrade": None,
        "base_instructions": _INSTRUCTIONS,
        "supports_reasoning_summaries": card.thinking,
        "support_verbosity": False,
        "default_verbosity": None,
        "apply_patch_tool_type": "freeform",
        "truncation_policy": {"mode": "bytes", "limit": 10_000},
        "supports_parallel_tool_calls": True,
        "context_window": card.window,
        "auto_compact_token_limit": card.window * 9 // 10,
        "effective_context_window_percent": 95,
        "experimental_supported_tools": [],
        "input_modalities": ["text", "image"] if card.images else ["text"],
    }
