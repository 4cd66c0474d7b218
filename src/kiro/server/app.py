"""Every route in one list.

Routes of the dialects exist twice: plain, and under `/a/{account}` for one account; some also with a
doubled or missing version prefix, because clients append their own to whatever base they are given.
Everything else is refused in the shape of the dialect that its path suggests.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

import msgspec
from aiohttp import web

from kiro import __version__
from kiro.errors import AccountError, KiroError, UnknownModel, UnknownRoute, WrongMethod
from kiro.protocols import PROTOCOLS
from kiro.protocols.base import ModelCard, retry_headers
from kiro.runtime import Runtime
from kiro.server import login_page, numbers
from kiro.server.answer import PATIENCE, RUNTIME, Dialect, Visit, conversing, counting, guarded
from kiro.server.responses import ResponsesDialect, delete, input_items, no_websocket, show
from kiro.server.stream import Patience
from kiro.upstream.catalogue import Model

Route = tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]

_CLAUDE_CODE: Final = ("claude-code/", "claude-cli/")
_ENCODE: Final = msgspec.json.Encoder().encode
_CORS_HEADERS: Final = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "600",
}


def routes() -> list[Route]:
    """Method, path, handler of everything that is served. Each handler lets in by `guarded`, or by a secret of its own."""
    served: list[Route] = [
        ("GET", "/healthz", _alive),
        ("GET", "/readyz", _ready),
        ("GET", "/", _about),
        ("HEAD", "/", _about),
        ("GET", login_page.PATH, login_page.show),
        ("POST", login_page.PATH, login_page.take),
        ("GET", "/v1/stats", guarded(None, _stats)),
        ("POST", "/api/event_logging/batch", guarded(PROTOCOLS["anthropic"], _swallow_telemetry)),
    ]
    conversations = [*_anthropic(), *_openai(), *_gemini(), *_shared()]
    for prefix in ("", "/a/{account}"):
        served += [(method, prefix + path, handler) for method, path, handler in conversations]
    return [*served, *_aliases(conversations)]


def _anthropic() -> list[Route]:
    claude = Dialect(PROTOCOLS["anthropic"])
    return [
        ("POST", "/v1/messages", conversing(claude)),
        ("POST", "/v1/messages/count_tokens", counting(claude.protocol)),
        ("POST", "/cc/v1/messages", conversing(claude, exact_usage=True)),
        ("POST", "/cc/v1/messages/count_tokens", counting(claude.protocol)),
    ]


def _openai() -> list[Route]:
    chat, answers = Dialect(PROTOCOLS["openai_chat"]), ResponsesDialect(PROTOCOLS["openai_responses"])
    spoken = answers.protocol
    return [
        ("POST", "/v1/chat/completions", conversing(chat)),
        ("POST", "/v1/responses", conversing(answers)),
        ("GET", "/v1/responses", guarded(spoken, no_websocket)),
        ("POST", "/v1/responses/input_tokens", counting(spoken)),
        ("POST", "/v1/responses/compact", conversing(answers, verb="compact")),
        ("GET", "/v1/responses/{id}", guarded(spoken, show)),
        ("DELETE", "/v1/responses/{id}", guarded(spoken, delete)),
        ("GET", "/v1/responses/{id}/input_items", guarded(spoken, input_items)),
    ]


def _gemini() -> list[Route]:
    google = Dialect(PROTOCOLS["gemini"])
    routes: list[Route] = []
    for version in ("/v1beta", "/v1"):
        models = f"{version}/models"
        routes += [
            ("POST", f"{models}/{{model:[^:]+}}:countTokens", counting(google.protocol)),
            ("POST", f"{models}/{{model:[^:]+}}:{{verb:[A-Za-z]+}}", conversing(google)),
        ]
    return [
        *routes,
        ("GET", "/v1beta/models", guarded(google.protocol, _list_models)),
        ("GET", "/v1beta/models/{model:.+}", guarded(google.protocol, _show_model)),
    ]


def _shared() -> list[Route]:
    return [
        ("GET", "/v1/models", guarded(None, _list_models)),
        ("GET", "/v1/models/{model:.+}", guarded(None, _show_model)),
        ("GET", "/v1/kiro/usage-limits", guarded(None, _usage_limits)),
    ]


def _aliases(served: list[Route]) -> Iterator[Route]:
    """Paths as clients make them that add what the base already has, or leave out what it lacks."""
    for method, path, handler in served:
        if path.startswith("/v1/"):
            yield method, f"/v1{path}", handler
            yield method, f"/anthropic{path}" if "/messages" in path else f"/openai{path}", handler
            if path.startswith(("/v1/chat/", "/v1/responses")):
                yield method, path.removeprefix("/v1"), handler
        elif path.startswith("/v1beta/models/") and method == "POST":
            yield method, path.removeprefix("/v1beta"), handler


def make_app(runtime: Runtime) -> web.Application:
    app = web.Application(client_max_size=0)
    app[RUNTIME] = runtime
    app[PATIENCE] = Patience()
    app.cleanup_ctx.append(_patience)
    known: dict[str, set[str]] = {}
    for method, path, handler in routes():
        app.router.add_route(method, path, handler)
        known.setdefault(path, set()).add(method)
    for path, methods in known.items():
        app.router.add_route("OPTIONS", path, _preflight)
        app.router.add_route("*", path, guarded(None, _wrong_method(methods)))
    app.router.add_route("*", "/{path:.*}", guarded(None, _unknown_route))
    return app


async def _patience(app: web.Application) -> AsyncIterator[None]:
    async with app[PATIENCE]:
        yield


def _wrong_method(methods: set[str]) -> Callable[[Visit], Awaitable[web.StreamResponse]]:
    async def refuse(visit: Visit) -> web.StreamResponse:
        allowed = ", ".join(sorted(methods))
        raise WrongMethod(f"{visit.request.path} does not take {visit.request.method}.", hint=f"It takes {allowed}.")

    return refuse


async def _unknown_route(visit: Visit) -> web.StreamResponse:
    raise UnknownRoute(
        f"There is nothing at {visit.request.method} {visit.request.path}.", hint="GET / tells what is served here."
    )


async def _preflight(request: web.Request) -> web.StreamResponse:
    """A browser asks before it sends: only for pages that `server.cors_origins` names."""
    from kiro.server import guards

    settings = request.app[RUNTIME].settings
    try:
        guards.check_host(request.host, settings)
        origin = guards.check_origin(request.headers.get("Origin"), settings)
    except KiroError:
        return web.Response(status=403)
    if origin is None:
        return web.Response(status=403)
    return web.Response(status=204, headers={"Access-Control-Allow-Origin": origin, "Vary": "Origin", **_CORS_HEADERS})


async def _alive(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b'{"status":"ok"}', content_type="application/json")


async def _ready(request: web.Request) -> web.StreamResponse:
    """Whether some account can serve, without naming any; how many requests are answered, and wait for a place."""
    runtime = request.app[RUNTIME]
    told = {"status": "ready", "in_flight": runtime.turns.in_flight, "waiting": runtime.turns.waiting}
    try:
        runtime.relay.choose()
    except AccountError as error:
        told["status"] = "no account is ready"
        headers = retry_headers(error, 503)
        return web.Response(status=503, body=_ENCODE(told), headers=headers, content_type="application/json")
    return web.Response(body=_ENCODE(told), content_type="application/json")


async def _about(_: web.Request) -> web.StreamResponse:
    served = {
        "name": "kiro",
        "version": __version__,
        "anthropic": ["POST /v1/messages", "POST /v1/messages/count_tokens"],
        "openai": ["POST /v1/chat/completions", "POST /v1/responses"],
        "gemini": ["POST /v1beta/models/{model}:generateContent", "POST /v1beta/models/{model}:streamGenerateContent"],
        "models": ["GET /v1/models", "GET /v1beta/models"],
        "health": ["GET /healthz", "GET /readyz"],
    }
    return web.Response(body=_ENCODE(served), content_type="application/json")


async def _swallow_telemetry(visit: Visit) -> web.StreamResponse:
    """Claude Code reports home through its base URL; it is told all is well, and nothing is kept."""
    return visit.reply(b"{}")


async def _list_models(visit: Visit) -> web.StreamResponse:
    """In the asker's shape; Codex asks for a manifest of its own, Claude Code takes only what sounds like Anthropic."""
    listed = cards(visit.runtime, _within_reach(visit))
    if "client_version" in visit.request.query:
        from kiro.protocols import openai_responses

        return visit.reply(openai_responses.codex_models(listed))
    if visit.request.headers.get("User-Agent", "").startswith(_CLAUDE_CODE):
        listed = [_for_claude_code(card) for card in listed]
    return visit.reply(visit.protocol.models(listed))


async def _show_model(visit: Visit) -> web.StreamResponse:
    asked = visit.request.match_info["model"].removeprefix("models/")
    among = _within_reach(visit)
    listed = {card.id: card for card in cards(visit.runtime, among)}
    if asked in listed:
        return visit.reply(visit.protocol.model(listed[asked]))
    model, _ = visit.runtime.relay.models.resolve(asked)
    if model.id not in visit.runtime.relay.models.known(among):
        raise UnknownModel(asked)
    return visit.reply(visit.protocol.model(_card(model, asked)))


def _within_reach(visit: Visit) -> frozenset[str] | None:
    """Ids of the accounts the client's requests can go to; None when all. Raises as the choice of an account does."""
    return visit.runtime.turns.eligible(visit.reach.ask())


def cards(runtime: Runtime, among: frozenset[str] | None = None) -> list[ModelCard]:
    """What clients may choose from: each model, and beside it the variants that only their name can ask for.

    `among` are the ids of the accounts that count; None when all do. Claude Code takes its window from `[1m]` in the name; the thinking suffix switches thinking on.
    """
    suffix = runtime.settings.models.thinking_suffix
    listed: list[ModelCard] = []
    for model in runtime.relay.models.shown(among):
        listed.append(_card(model, model.id))
        if model.window >= 1_000_000 and model.id.startswith("claude-"):
            listed.append(_card(model, f"{model.id}[1m]", " (1M context)"))
        if suffix and model.id.startswith("claude-"):
            listed.append(_card(model, f"{model.id}{suffix}", " (thinking)"))
    return listed


def _for_claude_code(card: ModelCard) -> ModelCard:
    """A model under a name that Claude Code's model picker keeps; the prefix is taken off again where names are read."""
    if card.id.startswith(("claude", "anthropic")):
        return card
    return msgspec.structs.replace(card, id=f"anthropic.{card.id}")


def _card(model: Model, shown_id: str, note: str = "") -> ModelCard:
    return ModelCard(
        id=shown_id,
        name=(model.name or model.id) + note,
        window=model.window,
        max_output=model.max_output or 64_000,
        images=model.images,
        thinking=bool(model.efforts or model.thinking_types) or model.takes_fields is False,
    )


async def _stats(visit: Visit) -> web.StreamResponse:
    totals: dict[str, Any] = await numbers.stats(visit.runtime, visit.client)
    return visit.reply(_ENCODE(totals))


async def _usage_limits(visit: Visit) -> web.StreamResponse:
    limits = await numbers.usage_limits(visit.runtime, visit.reach)
    return visit.reply(_ENCODE(limits))
