"""Kiro's request body as types: only what is sent, and nothing that may be null.

Optional members are left out when they hold their default, because a null is refused. The order of
members is fixed, so equal requests are equal bytes, which is what Kiro's prompt cache goes by.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from kiro.upstream.tools import WireTool


class _Member(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """A structure of the wire."""


class ImageSource(_Member, frozen=True):
    bytes: str


class ImageBlock(_Member, frozen=True):
    """`format` is png, jpeg, gif or webp; `jpg` is refused."""

    format: str
    source: ImageSource


class ResultText(_Member, frozen=True):
    text: str


class ResultBlock(_Member, frozen=True):
    tool_use_id: str
    status: str
    content: tuple[ResultText, ...]


class UserContext(_Member, frozen=True):
    tools: tuple[WireTool, ...] | UnsetType = UNSET
    tool_results: tuple[ResultBlock, ...] | UnsetType = UNSET


class UserMessage(_Member, frozen=True):
    content: str
    model_id: str
    origin: str
    images: tuple[ImageBlock, ...] | UnsetType = UNSET
    user_input_message_context: UserContext | UnsetType = UNSET


class ToolUse(_Member, frozen=True):
    tool_use_id: str
    name: str
    input: Raw


class ReasoningText(_Member, frozen=True):
    text: str
    signature: str


class ReasoningContent(_Member, frozen=True):
    """Exactly one of the two."""

    reasoning_text: ReasoningText | UnsetType = UNSET
    redacted_content: str | UnsetType = UNSET


class AssistantMessage(_Member, frozen=True):
    content: str
    message_id: str | UnsetType = UNSET
    tool_uses: tuple[ToolUse, ...] | UnsetType = UNSET
    reasoning_content: ReasoningContent | UnsetType = UNSET


class UserEntry(_Member, frozen=True):
    user_input_message: UserMessage


class AssistantEntry(_Member, frozen=True):
    assistant_response_message: AssistantMessage


class ConversationState(_Member, frozen=True):
    """`agent_continuation_id` stays the same inside a session: prefix-cache hits depend on it."""

    chat_trigger_type: str
    agent_task_type: str
    conversation_id: str
    agent_continuation_id: str
    history: list[UserEntry | AssistantEntry] | UnsetType
    current_message: UserEntry


class Body(_Member, frozen=True):
    conversation_state: ConversationState
    additional_model_request_fields: dict[str, Any] | UnsetType = UNSET
