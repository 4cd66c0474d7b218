"""How clients say it. PROTOCOLS is the table the server reads; dialects never import each other.

A dialect is imported when somebody speaks it: each costs a few hundred kilobytes and a share of the start.
"""

import importlib
from typing import Any, Final, cast

from kiro.protocols.base import Protocol


class _Unread:
    """Stands for the module of a dialect, and is as good as it from the first look into it on."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, wanted: str) -> Any:
        module = importlib.import_module(f"{__name__}.{self.name}")
        vars(self).update(vars(module))
        return getattr(module, wanted)


PROTOCOLS: Final[dict[str, Protocol]] = {
    name: cast("Protocol", _Unread(name)) for name in ("anthropic", "openai_chat", "openai_responses", "gemini")
}
