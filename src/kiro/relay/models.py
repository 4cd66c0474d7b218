"""Which models the accounts offer: asked of Kiro, kept for an hour, and remembered over restarts.

Until Kiro has been asked the last good copy serves, and before that the built-in table. A built-in or
old list only limits what is shown, never which id may be sent; only a list fresh from Kiro may say
that a model does not exist.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from kiro.conversation.messages import Conversation
from kiro.errors import KiroError, StorageError, UnknownModel
from kiro.storage.files import write_private
from kiro.upstream.catalogue import KNOWN_MODELS, Model, Resolved, normalise, stand_in

_FRESH_S: Final = 3600.0
_RETRY_S: Final = 60.0
_KEPT_NAMES: Final = 200

AskModels = Callable[[str], Awaitable[tuple[Model, ...]]]


class _Copy(msgspec.Struct, frozen=True):
    asked_at: float
    models: tuple[Model, ...]


class ModelShelf:
    """Models by account id. `ask` gets an account's list from Kiro; `file` holds the last good copies."""

    def __init__(self, ask: AskModels, file: Path) -> None:
        self._ask = ask
        self._file = file
        self._aliases: Mapping[str, str] = {}
        self._hidden: frozenset[str] = frozenset()
        self._suffix = ""
        self._compat = True
        self._lists: dict[str, _Copy] = _load(file)
        self._tried: dict[str, float] = {}
        self._resolved: dict[str, tuple[Model, Resolved]] = {}
        """What names meant, until lists or settings change: a client uses one or two names for hours."""
        self._without: dict[str, frozenset[str]] = {}
        """Accounts without a model, until lists change: asked at each turn."""
        self._lock = asyncio.Lock()

    def configure(
        self, *, aliases: Mapping[str, str], hidden: tuple[str, ...], suffix: str, compat: bool = True
    ) -> None:
        """The settings under `models`."""
        self._aliases, self._hidden, self._suffix = aliases, frozenset(hidden), suffix
        self._compat = compat
        self._resolved.clear()

    def known(self, among: Collection[str] | None = None) -> dict[str, Model]:
        """Every model by id: the union over accounts, or the built-in table before anything was asked.

        `among` are the ids of the accounts that count; None when all do.
        """
        copies = [copy for account_id, copy in self._lists.items() if among is None or account_id in among]
        union = {model.id: model for copy in copies for model in copy.models}
        if not union and among is not None:
            return self.known()
        return union or {model.id: model for model in KNOWN_MODELS}

    def shown(self, among: Collection[str] | None = None) -> list[Model]:
        return [model for model in self.known(among).values() if model.id not in self._hidden]

    @property
    def live(self) -> bool:
        """Kiro itself gave the list, within the last hour."""
        return any(time.time() - copy.asked_at < _FRESH_S for copy in self._lists.values())

    def resolve(self, asked: str) -> tuple[Model, Resolved]:
        """The model a client means. Raises UnknownModel."""
        answer = self._resolved.get(asked)
        if answer is None:
            answer = self._resolve(asked)
            if len(self._resolved) < _KEPT_NAMES:
                self._resolved[asked] = answer
        return answer

    def _resolve(self, asked: str) -> tuple[Model, Resolved]:
        if not asked.isprintable():
            raise UnknownModel(asked)  # the name goes into headers, where a line's end would begin another one
        known = self.known()
        resolved = normalise(asked, known if self.live else {}, self._aliases, self._suffix)
        if self._compat and (resolved is None or resolved.id not in known):
            nearest = stand_in(asked, known)
            resolved = Resolved(nearest) if nearest is not None else resolved
        if resolved is None:
            raise UnknownModel(asked, hint=_nearest(asked, known))
        model = known.get(resolved.id) or next((model for model in KNOWN_MODELS if model.id == resolved.id), None)
        return model or Model(id=resolved.id), resolved

    def offers(self, account_id: str, model_id: str) -> bool:
        """Whether the account has the model, as far as is known."""
        copy = self._lists.get(account_id)
        return copy is None or any(model.id == model_id for model in copy.models)

    def lacking(self, model_id: str) -> frozenset[str]:
        """Ids of the accounts whose list lacks the model."""
        known = self._without.get(model_id)
        if known is None:
            known = frozenset(account_id for account_id in self._lists if not self.offers(account_id, model_id))
            if len(self._without) < _KEPT_NAMES:
                self._without[model_id] = known
        return known

    async def refresh(self, account_id: str, *, force: bool = False) -> None:
        """Ask Kiro again if the list is older than an hour. Failures keep the old list; they raise only when forced."""
        async with self._lock:
            now = time.time()
            copy = self._lists.get(account_id)
            fresh = copy is not None and now - copy.asked_at < _FRESH_S
            if not force and (fresh or now - self._tried.get(account_id, 0) < _RETRY_S):
                return
            self._tried[account_id] = now
            try:
                models = await self._ask(account_id)
            except KiroError:
                if force:
                    raise
                return
            if models:
                self._lists[account_id] = _Copy(now, models)
                self._resolved.clear()
                self._without.clear()
                await asyncio.to_thread(self._save)

    def _save(self) -> None:
        try:
            write_private(self._file, msgspec.json.encode(self._lists))
        except OSError as error:
            raise StorageError(f"The model list cannot be kept: {error}.") from error


def with_model_tags(conversation: Conversation, resolved: Resolved) -> Conversation:
    """What the model's name asked for (`-thinking`, an effort) where the request itself is silent."""
    wish = conversation.thinking
    if resolved.thinking and wish.mode is None:
        wish = msgspec.structs.replace(wish, mode="on")
    if resolved.effort is not None and wish.effort is None:
        wish = msgspec.structs.replace(wish, effort=resolved.effort)
    return conversation if wish is conversation.thinking else msgspec.structs.replace(conversation, thinking=wish)


def _load(file: Path) -> dict[str, _Copy]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, _Copy])
    except (OSError, msgspec.DecodeError):
        return {}


def _nearest(asked: str, known: Mapping[str, Model]) -> str:
    import difflib

    near = difflib.get_close_matches(asked.lower(), list(known), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}?" if near else "`kiro models` lists what your accounts offer."
