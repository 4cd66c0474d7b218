"""How clients say it. PROTOCOLS is the table the server reads; dialects never import each other."""

from typing import Final

from kiro.protocols import anthropic
from kiro.protocols.base import Protocol

PROTOCOLS: Final[dict[str, Protocol]] = {"anthropic": anthropic}
