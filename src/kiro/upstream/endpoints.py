"""What differs between Kiro's APIs: addresses, headers, origin. One row per flavour.

Flavour `ide` (restJson on `q.*`) is what the Kiro IDE used up to 0.12 and is the best documented;
`cli` (awsJson on `q.*`) is kiro-cli's; `runtime` is the Kiro runtime service of the newer clients.
The event stream that comes back is the same. Which one an account uses is a property of the account.
"""

import platform
import random
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from kiro.errors import NetworkFailed

Flavour = Literal["ide", "cli", "runtime"]
API_REGIONS: Final = ("us-east-1", "eu-central-1", "us-gov-east-1", "us-gov-west-1")

_IDE_VERSION: Final = "0.12.224"
_CLI_VERSION: Final = "2.15.2"
_KAS_VERSION: Final = "2.28.0"
_CALL_ID: Final = "amz-sdk-invocation-id"


class Access(msgspec.Struct, frozen=True):
    """What a request needs to act for an account: never more than the access token.

    `token_type` is sent as the `TokenType` header when given. `machine_id` is 64 lowercase hex digits,
    stable per account. `proxy` is the account's own way to Kiro, `direct` for none at all.
    """

    token: str
    token_type: str | None
    profile_arn: str | None
    region: str
    flavour: Flavour
    machine_id: str
    proxy: str | None = None

    def __repr__(self) -> str:
        return f"Access(token=<secret>, region={self.region!r}, flavour={self.flavour!r})"


class Endpoint(msgspec.Struct, frozen=True):
    """One flavour. `{region}` stands in the hosts; `target` is the awsJson service prefix, `None` for restJson."""

    inference_host: str
    control_host: str
    path: str
    content_type: str
    target: str | None
    control_target: str | None
    origin: str
    user_agent: str
    control_user_agent: str
    body_agent_mode: bool
    """Send `agentMode` in the body; otherwise it is a header."""


def _system() -> str:
    return {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}.get(platform.system(), "other")


_JS: Final = f"ua/2.1 os/{_system()} lang/js md/nodejs#22.22.0"

ENDPOINTS: Final[dict[Flavour, Endpoint]] = {
    "ide": Endpoint(
        inference_host="q.{region}.amazonaws.com",
        control_host="q.{region}.amazonaws.com",
        path="/generateAssistantResponse",
        content_type="application/json",
        target=None,
        control_target=None,
        origin="AI_EDITOR",
        user_agent=f"aws-sdk-js/1.0.34 {_JS} api/codewhispererstreaming#1.0.34 m/E KiroIDE-{_IDE_VERSION}-{{machine}}",
        control_user_agent=f"aws-sdk-js/1.0.0 {_JS} api/codewhispererruntime#1.0.0 m/N,E KiroIDE-{_IDE_VERSION}-{{machine}}",
        body_agent_mode=False,
    ),
    "cli": Endpoint(
        inference_host="q.{region}.amazonaws.com",
        control_host="q.{region}.amazonaws.com",
        path="/",
        content_type="application/x-amz-json-1.0",
        target="AmazonCodeWhispererStreamingService",
        control_target="AmazonCodeWhispererService",
        origin="KIRO_CLI",
        user_agent=f"aws-sdk-rust/1.3.15 ua/2.1 api/codewhispererstreaming/0.1.17975 os/{_system()} lang/rust/1.92.0 md/appVersion-{_CLI_VERSION} app/AmazonQ-For-CLI",
        control_user_agent=f"aws-sdk-rust/1.3.15 ua/2.1 api/codewhispererruntime/0.1.17975 os/{_system()} lang/rust/1.92.0 md/appVersion-{_CLI_VERSION} app/AmazonQ-For-CLI",
        body_agent_mode=False,
    ),
    "runtime": Endpoint(
        inference_host="runtime.{region}.kiro.dev",
        control_host="management.{region}.kiro.dev",
        path="/",
        content_type="application/x-amz-json-1.0",
        target="KiroRuntimeService",
        control_target="AmazonCodeWhispererService",
        origin="AI_EDITOR",
        user_agent=f"aws-sdk-js/1.0.0 {_JS} api/kiroruntime#1.0.0 m/N KiroCLI/{_KAS_VERSION} KAS/0.35.0",
        control_user_agent=f"aws-sdk-js/1.0.0 {_JS} api/codewhispererruntime#1.0.0 m/N KiroCLI/{_KAS_VERSION}",
        body_agent_mode=True,
    ),
}


class Address(msgspec.Struct, frozen=True):
    """Where a request goes and what it carries besides its body. `headers` holds the token: never log it.

    `head` is the same as the bytes of a POST, with places for what differs from call to call: `call_id` and the
    length of the body.
    """

    url: str
    headers: dict[str, str]
    call_id: str = ""
    head: bytes = b""

    def __repr__(self) -> str:
        return f"Address({self.url!r})"

    def call_headers(self) -> dict[str, str]:
        """The headers of this call."""
        return {**self.headers, _CALL_ID: self.call_id} if self.call_id else self.headers

    def call_head(self, length: int) -> bytes:
        """The head of this call, for a body of `length` bytes."""
        return self.head % (self.call_id.encode(), length)


def inference_address(access: Access, base_url: str | None) -> Address:
    """Where a conversation is sent. `base_url` is `upstream.url`, which replaces the host."""
    endpoint = ENDPOINTS[access.flavour]
    headers = _headers(access, endpoint.user_agent)
    headers["Content-Type"] = endpoint.content_type
    headers["Accept"] = "*/*"
    headers["amz-sdk-request"] = "attempt=1; max=3"
    if endpoint.target is not None:
        headers["X-Amz-Target"] = f"{endpoint.target}.GenerateAssistantResponse"
    if not endpoint.body_agent_mode:
        headers["x-amzn-kiro-agent-mode"] = "vibe"
    url = _base(endpoint.inference_host, access.region, base_url) + endpoint.path
    return Address(url, headers, head=_head(url, headers))


def new_call(address: Address) -> Address:
    """The same address for another call: every call has an id of its own."""
    return Address(address.url, address.headers, _call_id(), address.head)


def control_address(access: Access, base_url: str | None) -> tuple[str, dict[str, str]]:
    """Base address and headers of the small questions: models, usage, profiles."""
    endpoint = ENDPOINTS[access.flavour]
    headers = _headers(access, endpoint.control_user_agent)
    headers["amz-sdk-request"] = "attempt=1; max=1"
    return _base(endpoint.control_host, access.region, base_url), headers


def mcp_address(access: Access, base_url: str | None) -> Address:
    """Where Kiro's own tools (web search) are called."""
    endpoint = ENDPOINTS[access.flavour]
    headers = _headers(access, endpoint.user_agent)
    headers["Content-Type"] = "application/json"
    if access.profile_arn:
        headers["x-amzn-kiro-profile-arn"] = access.profile_arn
    return Address(_base(endpoint.inference_host, access.region, base_url) + "/mcp", headers)


def _headers(access: Access, agent: str) -> dict[str, str]:
    user_agent = agent.replace("{machine}", access.machine_id)
    headers = {
        "Authorization": f"Bearer {access.token}",
        "User-Agent": user_agent,
        "x-amz-user-agent": user_agent,
        "x-amzn-codewhisperer-optout": "true",
        _CALL_ID: _call_id(),
    }
    if access.token_type:
        headers["TokenType"] = access.token_type
    return headers


def small_request(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """The bytes of a request that is made once. Raises NetworkFailed for what would break out of a header."""
    length = {"Content-Length": str(len(body or b""))} if body is not None or method != "GET" else {}
    return _lines(method, url, {"Accept": "*/*", **headers, **length}) + b"\r\n" + (body or b"")


def _head(url: str, headers: dict[str, str]) -> bytes:
    """The head of a POST, with places for the call's id and the body's length. Raises as `small_request`."""
    constant = {name: value for name, value in headers.items() if name != _CALL_ID}
    return (
        _lines("POST", url, constant).replace(b"%", b"%%") + _CALL_ID.encode() + b": %b\r\nContent-Length: %d\r\n\r\n"
    )


def _lines(method: str, url: str, headers: Mapping[str, str]) -> bytes:
    """The request's line and its headers."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    constant = {"Host": parts.netloc.rpartition("@")[2], "Accept-Encoding": "gzip, deflate", **headers}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in constant.items())]
    if any(ord(char) < 32 or ord(char) > 255 for line in lines for char in line):
        raise NetworkFailed("A character of the access token or of the address cannot be sent.")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def _call_id() -> str:
    """A random UUID. Nothing secret hangs on it, so it need not cost a system call."""
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def _base(host: str, region: str, base_url: str | None) -> str:
    return base_url.rstrip("/") if base_url else f"https://{host.format(region=region)}"
