"""Which clients shorten a conversation by themselves once they are told that it is too long, in their own words.

They do it better than anybody in between could, so they get the error. All others would be stuck with it.
"""

from functools import lru_cache
from typing import Final

from kiro.relay.fitting import OnOverflow

COMPACTING: Final = ("claude-cli", "claude-code", "codex", "geminicli", "gemini-cli", "opencode")
"""Beginnings of a User-Agent, or of a word in it, in lower case."""


def on_overflow(user_agent: str, setting: OnOverflow, *, may_trim: bool) -> OnOverflow:
    """What happens to a conversation that does not fit. `may_trim`: this request asks for trimming."""
    if may_trim:
        return "trim" if setting == "error" else setting
    return "error" if compacts(user_agent) else setting


@lru_cache(256)
def compacts(user_agent: str) -> bool:
    return any(word.startswith(COMPACTING) for word in user_agent.lower().split())
