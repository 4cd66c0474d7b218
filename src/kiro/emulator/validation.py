"""What Kiro refuses: one body in, the first broken rule out, in Kiro's words.

Pure. RULES is read from the top; each rule sees the typed request (`wire` has already refused wrong
types, nulls, unknown enum values and unknown union variants) and says `None` or a `Refusal`. Where
Kiro's flavours and dates differ the strictest known behaviour is taken, so that what passes here
passes everywhere.
"""

import itertools
import re
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import UNSET

from kiro.emulator import schemas, signatures
from kiro.emulator.images import image_fault
from kiro.emulator.models import MODELS, Model, answering_model, find_model
from kiro.emulator.refusal import BAD_TOKEN, BAD_TOOL_USE, Refusal, deny, refuse
from kiro.emulator.wire import AssistantMessage, Request, ToolUse, UserMessage, decode_request

MAX_BODY_BYTES: Final = 20_000_000
MAX_TOOLS: Final = 136
"""137 tools were seen to fail."""
MAX_TOOLS_BYTES: Final = 1_900_000
MAX_DESCRIPTION: Final = 10_000
MAX_IMAGES: Final = 20
IMAGE_TOKENS: Final = 1_500
BYTES_PER_TOKEN: Final = 4

_TOOL_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}\Z")
_TOOL_USE_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,256}\Z")


class Account(msgspec.Struct, frozen=True):
    """What validation has to know about the caller. `profile_arn` is `None` for kinds that have none.

    `check_profile=False` accepts bodies before the profile ARN is added to them.
    """

    profile_arn: str | None = None
    more_profiles: tuple[str, ...] = ()
    models: tuple[Model, ...] = MODELS
    check_profile: bool = True


ANY_ACCOUNT: Final = Account(check_profile=False)


class Case(msgspec.Struct, frozen=True):
    """One request under judgement."""

    request: Request
    account: Account
    model: Model
    body_bytes: int


def validate(body: bytes, account: Account = ANY_ACCOUNT) -> Refusal | None:
    """The refusal Kiro would send for this body, or `None` when it would answer."""
    if len(body) > MAX_BODY_BYTES:
        return Refusal(413, "ValidationException", "Request body is too large.", None, "body size")
    try:
        request = decode_request(body)
    except msgspec.ValidationError as error:
        return refuse(str(error), reason="REQUEST_BODY_INVALID")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return refuse(f"not JSON: {error}", reason="REQUEST_BODY_INVALID_JSON")
    for check in _BEFORE_MODEL:
        refused = check(request, account)
        if refused is not None:
            return refused
    model = find_model(account.models, _model_id(request))
    if model is None:
        return refuse(f"model {_model_id(request)!r}", "Invalid model ID.", "INVALID_MODEL_ID")
    case = Case(request, account, answering_model(account.models, model), len(body))
    for rule in RULES:
        refused = rule(case)
        if refused is not None:
            return refused
    return None


def _model_id(request: Request) -> str:
    return "auto" if request.current.model_id is UNSET else request.current.model_id


def _unions_have_one_variant(request: Request, _: Account) -> Refusal | None:
    current = request.conversation_state.current_message
    if current.user_input_message is UNSET:
        return refuse("currentMessage is not a userInputMessage", reason="REQUEST_BODY_INVALID")
    for item in (*request.history, current):
        if (item.user_input_message is UNSET) == (item.assistant_response_message is UNSET):
            return refuse("a ChatMessage needs exactly one variant", reason="REQUEST_BODY_INVALID")
        fault = None
        if item.user_input_message is not UNSET:
            fault = _user_union_fault(item.user_input_message)
        elif item.assistant_response_message is not UNSET:
            fault = _assistant_union_fault(item.assistant_response_message)
        if fault is not None:
            return refuse(fault, reason="REQUEST_BODY_INVALID")
    return None


def _user_union_fault(message: UserMessage) -> str | None:
    context = message.user_input_message_context
    if context is not UNSET and context.tools is not UNSET and len(message.tools) != len(context.tools):
        return "a tool without a variant"
    if any(tool.input_schema.json is UNSET for tool in message.tools):
        return "an inputSchema without json"
    for result in message.results:
        for piece in result.content:
            if (piece.text is UNSET) == (piece.json is UNSET):
                return "a tool result's content needs exactly one of text and json"
            if piece.json is not UNSET and not _is_object(piece.json):
                return "a tool result's json is not an object"
    if any(picture.source.bytes is UNSET for picture in message.pictures):
        return "an image without bytes"
    return None


def _assistant_union_fault(message: AssistantMessage) -> str | None:
    if any(not _is_object(call.input) for call in message.calls):
        return "a tool use's input is not an object"
    reasoning = message.reasoning_content
    if reasoning is not UNSET and (reasoning.reasoning_text is UNSET) == (reasoning.redacted_content is UNSET):
        return "reasoningContent needs exactly one variant"
    return None


def _is_object(raw: msgspec.Raw) -> bool:
    return bytes(raw).lstrip()[:1] == b"{"


def _no_system_prompt(request: Request, _: Account) -> Refusal | None:
    if request.system_prompt is UNSET:
        return None
    return refuse("systemPrompt", reason="REQUEST_BODY_INVALID")


def _own_profile(request: Request, account: Account) -> Refusal | None:
    if not account.check_profile or request.profile_arn in (account.profile_arn, *account.more_profiles):
        return None
    if request.profile_arn is UNSET:
        if account.profile_arn is None:
            return None
        return refuse("profileArn", "profileArn is required for this request.")
    return deny(BAD_TOKEN, why="the profile ARN is not the caller's")


_BEFORE_MODEL: Final[tuple[Callable[[Request, Account], Refusal | None], ...]] = (
    _unions_have_one_variant,
    _no_system_prompt,
    _own_profile,
)


def _conversation_id(case: Case) -> Refusal | None:
    conversation_id = case.request.conversation_state.conversation_id
    if conversation_id is UNSET or _PRINTABLE.match(conversation_id):
        return None
    return refuse("conversationId", "Invalid conversation ID.", "INVALID_CONVERSATION_ID")


def _alternation(case: Case) -> Refusal | None:
    turns = case.request.turns
    if not isinstance(turns[0], UserMessage):
        return refuse("the first item is not a user message")
    if turns[0].results and len(turns) > 1:
        return refuse("the first item has tool results")
    for before, after in itertools.pairwise(turns):
        if type(before) is type(after):
            return refuse("user and assistant do not alternate, or the history ends with a user message")
    return None


def _content(case: Case) -> Refusal | None:
    for turn in case.request.turns:
        others = turn.results or turn.pictures if isinstance(turn, UserMessage) else turn.calls
        if not turn.content and not others:
            return refuse("an empty message")
    return None


def _tool_use_ids(case: Case) -> Refusal | None:
    seen: set[str] = set()
    for turn in case.request.turns:
        if isinstance(turn, UserMessage):
            ids = [result.tool_use_id for result in turn.results]
        else:
            ids = [call.tool_use_id for call in turn.calls]
            if len(set(ids)) < len(ids) or seen.intersection(ids):
                return refuse("a toolUseId is used twice", BAD_TOOL_USE, "REQUEST_BODY_INVALID")
            seen.update(ids)
        if not all(_TOOL_USE_ID.match(one) for one in ids):
            return refuse("an illegal toolUseId", BAD_TOOL_USE, "REQUEST_BODY_INVALID")
    return None


def _pairing(case: Case) -> Refusal | None:
    calls: tuple[ToolUse, ...] = ()
    for position, turn in enumerate(case.request.turns):
        if isinstance(turn, AssistantMessage):
            calls = turn.calls
            continue
        if [call.tool_use_id for call in calls] != [result.tool_use_id for result in turn.results]:
            return refuse(
                f"tool results of item {position} are not those of the calls before it, in their order",
                f"Expected toolResult blocks at messages.{position} for the preceding toolUse blocks.",
                "TOOL_USE_RESULT_MISMATCH",
            )
    return None


def _tools_only_in_current(case: Case) -> Refusal | None:
    for turn in case.request.turns[:-1]:
        if isinstance(turn, UserMessage) and turn.tools:
            return refuse("tools in history", reason="REQUEST_BODY_INVALID")
    return None


def _tools_declared(case: Case) -> Refusal | None:
    turns = case.request.turns
    declared = {tool.name for tool in case.request.current.tools}
    used = {call.name for turn in turns if isinstance(turn, AssistantMessage) for call in turn.calls}
    if used and not declared:
        return refuse(
            "tool uses in history, no tools declared",
            "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
            "TOOL_CONFIG_MISSING",
        )
    if used - declared:
        return refuse(f"undeclared tools {sorted(used - declared)}", BAD_TOOL_USE, "REQUEST_BODY_INVALID")
    return None


def _tool_catalogue(case: Case) -> Refusal | None:
    tools = case.request.current.tools
    if len(tools) > MAX_TOOLS:
        return refuse(f"{len(tools)} tools", BAD_TOOL_USE, "REQUEST_BODY_INVALID")
    if sum(len(bytes(tool.input_schema.json or b"")) + len(tool.description or "") for tool in tools) > MAX_TOOLS_BYTES:
        return refuse("the tools together are too large", BAD_TOOL_USE, "REQUEST_BODY_INVALID")
    names: set[str] = set()
    for tool in tools:
        if not _TOOL_NAME.match(tool.name):
            return refuse(f"tool name {tool.name!r}")
        if tool.name.lower() in names:
            return refuse(f"two tools named {tool.name}", f"Duplicate tool name: {tool.name}", "TOOL_DUPLICATE")
        names.add(tool.name.lower())
        description = tool.description
        if description is not UNSET and (not description.strip() or len(description) > MAX_DESCRIPTION):
            return refuse(f"the description of {tool.name} is empty or too long")
    return None


def _tool_schemas(case: Case) -> Refusal | None:
    for position, tool in enumerate(case.request.current.tools):
        raw = tool.input_schema.json
        schema = msgspec.json.decode(raw) if raw is not UNSET else None
        fault = schemas.root_fault(schema)
        if fault is not None:
            where = f"tools.{position}.toolSpecification.inputSchema.json"
            return refuse(f"{tool.name}: {fault}", f"{where}: {fault}", "TOOL_SCHEMA_INVALID")
        fault = schemas.keyword_fault(schema)
        if fault is not None:
            return refuse(f"schema of {tool.name}: {fault}")
    return None


def _images(case: Case) -> Refusal | None:
    pictures = [picture for turn in case.request.turns if isinstance(turn, UserMessage) for picture in turn.pictures]
    if pictures and not case.model.images:
        return refuse("images for a text model", "This model doesn't support the image content block.")
    if len(pictures) > MAX_IMAGES:
        return refuse(f"{len(pictures)} images", "Too many images.", "IMAGE_COUNT_EXCEEDED")
    for picture in pictures:
        refused = image_fault(picture.format, picture.source.bytes or "")
        if refused is not None:
            return refused
    return None


def _model_fields(case: Case) -> Refusal | None:
    raw = case.request.additional_model_request_fields
    if raw is UNSET:
        return None
    schema = case.model.fields_schema
    if schema is None:
        return refuse(case.model.id, "additionalModelRequestFields is not supported for this model")
    fault = schemas.misfit({name: msgspec.json.decode(value) for name, value in raw.items()}, schema)
    return refuse(fault, f"Invalid additionalModelRequestFields: {fault}") if fault else None


def _genuine_reasoning(case: Case) -> Refusal | None:
    family = case.model.family
    for turn in case.request.turns:
        if not isinstance(turn, AssistantMessage) or turn.reasoning_content is UNSET:
            continue
        reasoning = turn.reasoning_content
        if reasoning.reasoning_text is not UNSET:
            signature = reasoning.reasoning_text.signature or ""
            genuine = signatures.is_genuine(signature, family, reasoning.reasoning_text.text)
        else:
            genuine = signatures.is_genuine_redaction(reasoning.redacted_content or "", family)
        if not genuine:
            why = f"reasoning that {family} did not sign"
            return refuse(why, "Invalid `signature` in `thinking` block", "THINKING_SIGNATURE_INVALID")
    return None


def _fits_window(case: Case) -> Refusal | None:
    if input_tokens(case.request, case.body_bytes) <= case.model.window:
        return None
    return refuse("over the context window", "Input is too long.", "CONTENT_LENGTH_EXCEEDS_THRESHOLD")


def input_tokens(request: Request, body_bytes: int) -> int:
    """Tokens of the prompt by the emulator's own measure: four bytes of body each, a flat price per image."""
    pictures = [picture for turn in request.turns if isinstance(turn, UserMessage) for picture in turn.pictures]
    text_bytes = body_bytes - sum(len(picture.source.bytes or "") for picture in pictures)
    return text_bytes // BYTES_PER_TOKEN + len(pictures) * IMAGE_TOKENS


RULES: Final[tuple[Callable[[Case], Refusal | None], ...]] = (
    _conversation_id,
    _alternation,
    _content,
    _tool_use_ids,
    _pairing,
    _tools_only_in_current,
    _tools_declared,
    _tool_catalogue,
    _tool_schemas,
    _images,
    _model_fields,
    _genuine_reasoning,
    _fits_window,
)
