"""One conversation as Kiro's request: made once for each form in which it is sent, however many accounts are tried."""

import msgspec

from kiro.conversation.messages import Conversation
from kiro.upstream.catalogue import Model
from kiro.upstream.endpoints import ENDPOINTS, Flavour
from kiro.upstream.request import KiroRequest, build
from kiro.upstream.thinking import without_thinking


class Requests:
    """`ids` are the ids of the conversation and of its continuation. What could not be carried over goes to `notes`."""

    def __init__(
        self, conversation: Conversation, model: Model, ids: tuple[str, str], *, agentic: bool, notes: list[str]
    ) -> None:
        self._conversation = conversation
        self._model = model
        self._ids = ids
        self._agentic = agentic
        self._notes = notes
        self._made: dict[tuple[str, frozenset[str]], KiroRequest] = {}

    def form(self, flavour: Flavour, dropped: frozenset[str]) -> KiroRequest:
        """The request for an account's flavour, without what is `dropped` (see `retry.RepeatWithout`)."""
        origin = ENDPOINTS[flavour].origin
        request = self._made.get((origin, dropped))
        if request is None:
            request = self._made[origin, dropped] = self._build(origin, dropped)
            self._notes += [note for note in request.notes if note not in self._notes]
        return request

    def _build(self, origin: str, dropped: frozenset[str]) -> KiroRequest:
        conversation, model = self._conversation, self._model
        conversation_id, continuation_id = self._ids
        if "thinking" in dropped:
            conversation = without_thinking(conversation)
        if "fields" in dropped:
            model = msgspec.structs.replace(model, efforts=(), thinking_types=())
        if "conversation id" in dropped:
            conversation_id, continuation_id = continuation_id, conversation_id
        return build(
            conversation,
            model,
            conversation_id=conversation_id,
            continuation_id=continuation_id,
            origin=origin,
            agentic=self._agentic,
            flat_schemas="schema unions" in dropped,
        )
