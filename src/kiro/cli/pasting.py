"""Lines to paste: how each client is pointed at this server, by the dialect it speaks. Pure."""

import shlex
from collections.abc import Collection
from typing import Final, NamedTuple


class Client(NamedTuple):
    """`line` has places for `url`, `key`, `model` and the two headers a key can travel in, each quoted for a shell.

    `protocol` is the row of PROTOCOLS the client needs.
    """

    name: str
    protocol: str
    line: str


CLIENTS: Final = (
    Client("Claude Code", "anthropic", "ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY={key} claude"),
    Client(
        "Codex",
        "openai_responses",
        'KIRO_CLIENT_KEY={key} codex -c model_provider=kiro -c \'model_providers.kiro={{name="kiro",'
        'base_url="{url}/v1",env_key="KIRO_CLIENT_KEY",wire_api="responses"}}\' -m {model}',
    ),
    Client("Gemini CLI", "gemini", "GOOGLE_GEMINI_BASE_URL={url} GEMINI_API_KEY={key} gemini -m {model}"),
    Client(
        "curl",
        "anthropic",
        "curl {url}/v1/messages -H {x_api_key} -H 'content-type: application/json'"
        ' -d \'{{"model":"{model}","max_tokens":1024,"messages":[{{"role":"user","content":"Hello!"}}]}}\'',
    ),
    Client(
        "curl, as OpenAI",
        "openai_chat",
        "curl {url}/v1/chat/completions -H {bearer} -H 'content-type: application/json'"
        ' -d \'{{"model":"{model}","messages":[{{"role":"user","content":"Hello!"}}]}}\'',
    ),
)


def lines(url: str, key: str, model: str, served: Collection[str]) -> list[tuple[str, str]]:
    """Name and line of every client whose dialect is served."""
    places = {
        "url": url,
        "key": shlex.quote(key),
        "model": model,
        "x_api_key": shlex.quote(f"x-api-key: {key}"),
        "bearer": shlex.quote(f"Authorization: Bearer {key}"),
    }
    return [(client.name, client.line.format(**places)) for client in CLIENTS if client.protocol in served]
