"""The request body as Kiro's own deserializer reads it: unknown members skipped, everything else strict.

Optional members are `UnsetType`, not `None`: a null is refused wherever Kiro declares a member.
Unions (`ChatMessage`, a tool, a piece of a tool result) forbid unknown members, because an unknown
variant is an error while an unknown member of a structure is not. Free JSON (a tool's input, its
schema) stays `Raw` until a rule looks inside.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

Origin = Literal[
    "AI_EDITOR",
    "KIRO_CLI",
    "CLI",
    "KIRO_WEB",
    "IDE",
    "CHATBOT",
    "CONSOLE",
    "DOCUMENTATION",
    "GITLAB",
    "INLINE_CHAT",
    "MARKETING",
    "MD",
    "MD_CE",
    "MD_IDE",
    "MOBILE",
    "OPENSEARCH_DASHBOARD",
    "Q_DEV_BEXT",
    "SAGE_MAKER",
    "SERVICE_INTERNAL",
    "SM_AI_STUDIO_IDE",
    "UNIFIED_SEARCH",
    "UNKNOWN",
]


class _Structure(msgspec.Struct, frozen=True, rename="camel"):
    """Unknown members are skipped."""


class _Union(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One member of the declared ones; any other is an unknown variant."""


class ImageSource(_Union, frozen=True):
    bytes: str | UnsetType = UNSET


class ImageBlock(_Structure, frozen=True):
    format: str
    source: ImageSource


class ResultPiece(_Union, frozen=True):
    text: str | UnsetType = UNSET
    json: Raw | UnsetType = UNSET


class ToolResult(_Structure, frozen=True):
    tool_use_id: str
    content: tuple[ResultPiece, ...]
    status: Literal["success", "error"] | UnsetType = UNSET


class InputSchema(_Union, frozen=True):
    json: Raw | UnsetType = UNSET


class ToolSpecification(_Structure, frozen=True):
    name: str
    input_schema: InputSchema
    description: str | UnsetType = UNSET


class Tool(_Union, frozen=True):
    tool_specification: ToolSpecification | UnsetType = UNSET


class EnvVariable(_Structure, frozen=True):
    key: str
    value: str


class EnvState(_Structure, frozen=True):
    operating_system: str | UnsetType = UNSET
    current_working_directory: str | UnsetType = UNSET
    environment_variables: tuple[EnvVariable, ...] | UnsetType = UNSET
    timezone_offset: int | UnsetType = UNSET


class UserContext(_Structure, frozen=True):
    tools: tuple[Tool, ...] | UnsetType = UNSET
    tool_results: tuple[ToolResult, ...] | UnsetType = UNSET
    env_state: EnvState | UnsetType = UNSET


class UserMessage(_Structure, frozen=True):
    content: str
    model_id: str | UnsetType = UNSET
    origin: Origin | UnsetType = UNSET
    images: tuple[ImageBlock, ...] | UnsetType = UNSET
    user_input_message_context: UserContext | UnsetType = UNSET

    @property
    def tools(self) -> tuple[ToolSpecification, ...]:
        """The declared tools. A tool without a variant is left out; `validation` complains about it."""
        context = self.user_input_message_context
        if context is UNSET or context.tools is UNSET:
            return ()
        return tuple(tool.tool_specification for tool in context.tools if tool.tool_specification is not UNSET)

    @property
    def results(self) -> tuple[ToolResult, ...]:
        context = self.user_input_message_context
        return () if context is UNSET or context.tool_results is UNSET else context.tool_results

    @property
    def pictures(self) -> tuple[ImageBlock, ...]:
        return () if self.images is UNSET else self.images


class ToolUse(_Structure, frozen=True):
    tool_use_id: str
    name: str
    input: Raw


class ReasoningText(_Structure, frozen=True):
    text: str
    signature: str | UnsetType = UNSET


class ReasoningContent(_Union, frozen=True):
    reasoning_text: ReasoningText | UnsetType = UNSET
    redacted_content: str | UnsetType = UNSET


class AssistantMessage(_Structure, frozen=True):
    content: str
    message_id: str | UnsetType = UNSET
    tool_uses: tuple[ToolUse, ...] | UnsetType = UNSET
    reasoning_content: ReasoningContent | UnsetType = UNSET
    model_tag: str | UnsetType = UNSET

    @property
    def calls(self) -> tuple[ToolUse, ...]:
        return () if self.tool_uses is UNSET else self.tool_uses


class ChatMessage(_Union, frozen=True):
    user_input_message: UserMessage | UnsetType = UNSET
    assistant_response_message: AssistantMessage | UnsetType = UNSET


class ConversationState(_Structure, frozen=True):
    chat_trigger_type: Literal["MANUAL", "DIAGNOSTIC", "INLINE_CHAT"]
    current_message: ChatMessage
    history: tuple[ChatMessage, ...] | UnsetType = UNSET
    conversation_id: str | UnsetType = UNSET
    agent_continuation_id: str | UnsetType = UNSET
    agent_task_type: Literal["vibe", "spectask"] | UnsetType = UNSET


class Request(_Structure, frozen=True):
    """The body of GenerateAssistantResponse. `system_prompt` is declared because Kiro refuses it."""

    conversation_state: ConversationState
    profile_arn: str | UnsetType = UNSET
    agent_mode: str | UnsetType = UNSET
    additional_model_request_fields: dict[str, Raw] | UnsetType = UNSET
    system_prompt: Raw | UnsetType = UNSET

    @property
    def history(self) -> tuple[ChatMessage, ...]:
        return () if self.conversation_state.history is UNSET else self.conversation_state.history

    @property
    def current(self) -> UserMessage:
        """The current user message. Only for bodies that `validation` has let pass."""
        message = self.conversation_state.current_message.user_input_message
        if message is UNSET:
            raise ValueError("currentMessage is not a userInputMessage")
        return message

    @property
    def turns(self) -> tuple[UserMessage | AssistantMessage, ...]:
        """History and current message without their union wrapping."""
        found: list[UserMessage | AssistantMessage] = []
        for item in (*self.history, self.conversation_state.current_message):
            if item.user_input_message is not UNSET:
                found.append(item.user_input_message)
            elif item.assistant_response_message is not UNSET:
                found.append(item.assistant_response_message)
        return tuple(found)


def decode_request(body: bytes) -> Request:
    """The typed body. Raises msgspec.ValidationError, msgspec.DecodeError or RecursionError."""
    return msgspec.json.decode(body, type=Request)
