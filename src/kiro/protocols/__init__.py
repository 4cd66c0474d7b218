"""How clients say it. PROTOCOLS is the table the server reads; dialects never import each other."""

from typing import Final

from kiro.protocols import anthropic, gemini, openai_chat, openai_responses
from kiro.protocols.base import Protocol

PROTOCOLS: Final[dict[str, Protocol]] = {
    "anthropic": anthropic,
    "openai_chat": openai_chat,
    "openai_responses": openai_responses,
    "gemini": gemini,
}
