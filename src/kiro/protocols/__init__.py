"""How clients say it. PROTOCOLS is the table the server reads; dialects never import each other.

A dialect is loaded when somebody speaks it: each costs a few hundred kilobytes and a share of the start.
"""

import importlib.util
import sys
from typing import Final, cast

from kiro.protocols.base import Protocol


def _lazy(name: str) -> Protocol:
    """The dialect's module, whose code runs at the first look into it."""
    path = f"{__name__}.{name}"
    spec = importlib.util.find_spec(path)
    assert spec is not None  # noqa: S101  it lies beside this file
    assert spec.loader is not None  # noqa: S101  a file has one
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path] = module
    spec.loader.exec_module(module)
    globals()[name] = module
    return cast("Protocol", module)


PROTOCOLS: Final[dict[str, Protocol]] = {
    name: _lazy(name) for name in ("anthropic", "openai_chat", "openai_responses", "gemini")
}
