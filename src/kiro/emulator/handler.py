"""One handler for every request: find the operation, apply faults, check the caller, write the answer.

What to answer is decided in the pure modules; here are the sockets. Imports aiohttp, and so is itself
imported only when a server starts.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final, assert_never

from aiohttp import web

from kiro.emulator import pages, questions, replies
from kiro.emulator.accounts import Person
from kiro.emulator.answers import answer
from kiro.emulator.faults import Cut, ExpireToken, Fault, Hang, HttpError, Pause, Send, Step, plan
from kiro.emulator.models import answering_model, find_model
from kiro.emulator.refusal import BAD_TOKEN, Refusal, deny, refuse
from kiro.emulator.script import decide
from kiro.emulator.signin import Reply
from kiro.emulator.traffic import DISCOVERY, TOKEN_ENDPOINTS, Recorded, operation_of
from kiro.emulator.validation import Account, validate
from kiro.emulator.wire import decode_request

if TYPE_CHECKING:
    from kiro.emulator.server import Emulator

AWS_JSON: Final = "application/x-amz-json-1.0"
EVENT_STREAM: Final = "application/vnd.amazon.eventstream"
_MAX_READ_BYTES: Final = 64 * 1024 * 1024


async def open_server(emulator: "Emulator", host: str, port: int) -> tuple[web.AppRunner, str]:
    """A listening server for this emulator, and its base address."""
    app = web.Application(client_max_size=_MAX_READ_BYTES)
    app.router.add_route("*", "/{path:.*}", Handler(emulator).receive)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    bound_host, bound_port = runner.addresses[0][:2]
    return runner, f"http://{bound_host}:{bound_port}"


class Handler:
    def __init__(self, emulator: "Emulator") -> None:
        self._emulator = emulator

    async def receive(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        recorded = Recorded(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            operation=operation_of(request.path, headers),
            headers=headers,
            body=await request.read(),
        )
        self._emulator.requests.appendleft(recorded)
        self._emulator.served += 1
        recorded.number = self._emulator.served
        people = self._emulator.people
        owner = people.named_in(recorded.bearer) or people.holder(recorded.refresh_token())
        recorded.account = owner.name if owner else None
        faults = self._faults(recorded)
        for fault in faults:
            match fault:
                case Hang(before_head=True):
                    await asyncio.sleep(fault.ms / 1000)
                case ExpireToken() if owner is not None:
                    people.expire(owner)
                case HttpError():
                    return replies.failed(recorded, fault)
                case _:
                    pass
        if recorded.operation == "generate":
            return await self._generate(request, recorded, faults)
        reply = self._ask(recorded)
        for fault in faults:
            if isinstance(fault, Hang) and not fault.before_head:
                await asyncio.sleep(fault.ms / 1000)
        return reply

    def _faults(self, recorded: Recorded) -> tuple[Fault, ...]:
        if recorded.operation is None:
            return ()
        return self._emulator.faults.take(recorded.operation, recorded.account, recorded.fault_lines())

    def _ask(self, recorded: Recorded) -> web.Response:
        """Every operation but the conversation itself."""
        page = pages.browse(self._emulator.sign_in, recorded) if recorded.method == "GET" else None
        if page is not None:
            return page
        asked = recorded.posted()
        if asked is None:
            return replies.json_reply(recorded, (400, {"message": "Could not parse the body."}))
        signed_in = self._sign_in(recorded, asked)
        if signed_in is not None:
            return replies.json_reply(recorded, signed_in)
        found = self._question(recorded, recorded.query | asked)
        if isinstance(found, Refusal):
            return replies.refused(recorded, found)
        return replies.json_reply(recorded, (202 if found is None else 200, found))

    def _sign_in(self, recorded: Recorded, asked: dict[str, Any]) -> Reply | None:
        """The answer of a sign-in service, or `None` when the path is none of theirs."""
        sign_in, cookie = self._emulator.sign_in, self._emulator.portal_cookie
        if recorded.method == "GET":
            if recorded.path.endswith(DISCOVERY):
                return sign_in.company.discovery()
            return cookie.who_am_i(recorded.bearer) if recorded.path == "/token/whoAmI" else None
        if recorded.method != "POST":
            return None
        match recorded.path:
            case "/session/device":
                return cookie.session(recorded.bearer)
            case "/device_authorization/accept_user_code":
                return cookie.accept(asked)
            case "/device_authorization/associate_token":
                return cookie.associate(asked)
            case "/refreshToken":
                return sign_in.refresh_social(asked)
            case "/token":
                return sign_in.token(asked)
            case "/client/register":
                return sign_in.register(asked)
            case "/device_authorization":
                return sign_in.start_device(asked, self._emulator.url)
            case "/oauth/token":
                return sign_in.redeem_portal(asked)
            case "/logout":
                return sign_in.sign_out(asked)
            case "/oauth/device/authorization":
                return sign_in.start_social_device(asked, self._emulator.url)
            case "/oauth/device/poll":
                return sign_in.poll_social_device(asked)
            case path if path.endswith(TOKEN_ENDPOINTS):
                return sign_in.refresh_external(asked)
            case _:
                return None

    def _question(self, recorded: Recorded, asked: dict[str, Any]) -> dict[str, Any] | Refusal | None:
        """Models, usage, profiles, web search. `None` is an answer without content."""
        if recorded.operation == "profiles":
            owner = self._emulator.people.owner(recorded.bearer)
            return questions.list_profiles(owner, recorded.headers.get("tokentype"))
        if recorded.operation not in ("models", "usage", "mcp"):
            return Refusal(404, "UnknownOperationException", "Unknown operation.", why=recorded.path)
        caller = self._caller(recorded)
        if isinstance(caller, Refusal):
            return caller
        arn = asked.get("profileArn") or recorded.headers.get("x-amzn-kiro-profile-arn")
        if arn is not None and arn not in (caller.profile_arn, *caller.more_profiles):
            return deny(BAD_TOKEN, why="the profile ARN is not the caller's")
        match recorded.operation:
            case "models":
                return questions.list_models(caller, asked)
            case "usage":
                return questions.usage_limits(caller, self._emulator.now())
            case "mcp":
                return questions.call_tool_server(asked)

    def _caller(self, recorded: Recorded) -> Person | Refusal:
        """Who asks, or why not: token, its type, suspension, and the application."""
        person = self._emulator.people.owner(recorded.bearer)
        if person is None:
            return deny(BAD_TOKEN, why="no such token, or expired")
        sent = recorded.headers.get("tokentype", "").upper() or None
        if sent != person.token_type and (person.token_type is not None or sent != "SSO_OIDC"):
            return deny(BAD_TOKEN, why=f"TokenType {sent}, not {person.token_type}")
        if person.suspended:
            text = f"Your User ID ({person.email}) temporarily is suspended. We've locked it as a security precaution."
            return deny(text, "TEMPORARILY_SUSPENDED")
        agent = recorded.headers.get("user-agent", "")
        if any(part in agent for part in person.refuses_agents):
            return deny("Your subscription does not support this application.", "FEATURE_NOT_SUPPORTED")
        return person

    async def _generate(
        self, request: web.Request, recorded: Recorded, faults: tuple[Fault, ...]
    ) -> web.StreamResponse:
        person = self._caller(recorded)
        if isinstance(person, Refusal):
            return replies.refused(recorded, person)
        refusal = _refuse_conversation(recorded, person)
        if refusal is not None:
            return replies.refused(recorded, refusal)
        asked = decode_request(recorded.body)
        model_id = asked.current.model_id
        model = find_model(person.models, model_id if isinstance(model_id, str) else "auto")
        if model is None:
            return replies.refused(recorded, refuse("model", "Invalid model ID.", "INVALID_MODEL_ID"))
        runtime = recorded.headers.get("x-amz-target", "").startswith("KiroRuntimeService")
        answering = answering_model(person.models, model)
        made = answer(asked, len(recorded.body), answering, decide(asked), runtime=runtime)
        person.used += made.credits
        return await self._stream(request, recorded, plan(made.events, faults, self._emulator.pace_ms))

    async def _stream(self, request: web.Request, recorded: Recorded, steps: tuple[Step, ...]) -> web.StreamResponse:
        recorded.status = 200
        kind = EVENT_STREAM if recorded.path != "/" else AWS_JSON
        response = web.StreamResponse(
            headers={"Content-Type": kind, "x-amzn-requestid": replies.request_id(recorded.number)}
        )
        self._emulator.streaming += 1
        try:
            await response.prepare(request)
            for step in steps:
                match step:
                    case Send():
                        await response.write(step.data)
                    case Pause():
                        await asyncio.sleep(step.ms / 1000)
                    case Cut():
                        await replies.reset(request)
                        return response
                    case _:
                        assert_never(step)
            await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            recorded.aborted = True
            self._emulator.aborted += 1
            raise
        finally:
            self._emulator.streaming -= 1
        return response


def _refuse_conversation(recorded: Recorded, person: Person) -> Refusal | None:
    wanted = "application/json" if recorded.path != "/" else AWS_JSON
    if recorded.headers.get("content-type", "").split(";")[0].strip() != wanted:
        return Refusal(415, "UnsupportedMediaTypeException", f"Content-Type must be {wanted}.")
    if person.exhausted:
        text = "You have reached the limit of your plan."
        return Refusal(402, "ServiceQuotaExceededException", text, "MONTHLY_REQUEST_COUNT")
    return validate(recorded.body, Account(person.profile_arn, person.more_profiles, person.models))
