"""Which model a client's spelling means, and what Kiro's list tells about a model."""

import json

import pytest

from kiro.emulator import models as emulated
from kiro.errors import UpstreamBroken
from kiro.upstream.catalogue import KNOWN_MODELS, Model, Resolved, normalise, parse_models, stand_in

LIVE = [model.id for model in KNOWN_MODELS]

SPELLINGS = {
    "claude-sonnet-4.5": Resolved("claude-sonnet-4.5"),
    " Claude-Opus-5 ": Resolved("claude-opus-5"),
    "claude-sonnet-4-5": Resolved("claude-sonnet-4.5"),
    "claude-sonnet-4-5-20250929": Resolved("claude-sonnet-4.5"),
    "claude-sonnet-4-20250514": Resolved("claude-sonnet-4"),
    "claude-sonnet-4-0": Resolved("claude-sonnet-4"),
    "claude-opus-4-8-latest": Resolved("claude-opus-4.8"),
    "claude-sonnet-5@20260101": Resolved("claude-sonnet-5"),
    "claude-sonnet5": Resolved("claude-sonnet-5"),
    "claude-sonnet.5": Resolved("claude-sonnet-5"),
    "claude-4.5-sonnet": Resolved("claude-sonnet-4.5"),
    "claude-4.5-opus-high": Resolved("claude-opus-4.5", effort="high"),
    "anthropic/claude-haiku-4-5-20251001": Resolved("claude-haiku-4.5"),
    "us.anthropic.claude-sonnet-4-20250514-v1:0": Resolved("claude-sonnet-4"),
    "openrouter/anthropic/claude-opus-5": Resolved("claude-opus-5"),
    "models/claude-opus-5": Resolved("claude-opus-5"),
    "kiro/gpt-5.6-sol": Resolved("gpt-5.6-sol"),
    "claude-opus-5[1M]": Resolved("claude-opus-5", long_context=True),
    "claude-sonnet-4.5-1m": Resolved("claude-sonnet-4.5", long_context=True),
    "claude-opus-5[200k]": Resolved("claude-opus-5"),
    "claude-opus-4-7-thinking": Resolved("claude-opus-4.7", thinking=True),
    "claude-opus-5:thinking": Resolved("claude-opus-5", thinking=True),
    "claude-opus-5-thinking-agentic": Resolved("claude-opus-5", thinking=True, agentic=True),
    "claude-opus-5-max": Resolved("claude-opus-5", effort="max"),
    "claude-opus-5-xhigh-thinking": Resolved("claude-opus-5", thinking=True, effort="xhigh"),
    "sonnet": Resolved("claude-sonnet-5.5"),
    "claude-opus": Resolved("claude-opus-5.5"),
    "opusplan": Resolved("claude-opus-5.5"),
    "haiku": Resolved("claude-haiku-4.5"),
    "auto-kiro": Resolved("auto"),
    "kiro-o-4.8": Resolved("claude-opus-4.8"),
    "no-such-model": None,
    "gemini-3.8-flash": None,
    "": None,
}


@pytest.mark.parametrize(("asked", "meant"), SPELLINGS.items(), ids=SPELLINGS)
@pytest.mark.parametrize("live", [LIVE, ()], ids=["asked Kiro", "nobody asked yet"])
def test_a_spelling_means(asked, meant, live):
    assert normalise(asked, live) == meant


def test_an_unknown_claude_passes_only_while_nobody_asked_kiro():
    assert normalise("claude-nova-9", ()) == Resolved("claude-nova-9")
    assert normalise("claude-nova-9", LIVE) is None
    assert normalise("claude-3-7-sonnet-20250219", ()) == Resolved("claude-3.7-sonnet")


def test_what_exists_is_never_taken_apart():
    assert normalise("glm-max", ["glm", "glm-max"]) == Resolved("glm-max")
    assert normalise("claude-sonnet-4.5-1m", ["claude-sonnet-4.5", "claude-sonnet-4.5-1m"]) == Resolved(
        "claude-sonnet-4.5-1m"
    )
    assert (
        normalise("claude_sonnet_4_20250514_v1_0", ["CLAUDE_SONNET_4_20250514_V1_0"]).id
        == "CLAUDE_SONNET_4_20250514_V1_0"
    )


def test_the_users_aliases_come_first_and_keep_what_the_spelling_asks():
    aliases = {"GPT-4o": "claude-sonnet-4-5", "claude-opus-5": "glm-5"}
    assert normalise("gpt-4o", LIVE, aliases) == Resolved("claude-sonnet-4.5")
    assert normalise("gpt-4o-thinking", LIVE, aliases) == Resolved("claude-sonnet-4.5", thinking=True)
    assert normalise("claude-opus-5", LIVE, aliases) == Resolved("glm-5")


def test_the_thinking_suffix_is_a_setting():
    assert normalise("glm-5+think", LIVE, {}, "+think") == Resolved("glm-5", thinking=True)


def test_a_list_is_read():
    listing = {"models": [model.listing() for model in emulated.MODELS], "defaultModel": {"modelId": "auto"}}
    models = {model.id: model for model in parse_models(json.dumps(listing).encode())}
    assert set(models) == {model.id for model in emulated.MODELS}
    opus = models["claude-opus-5"]
    assert (opus.window, opus.images, opus.multiplier) == (1_000_000, True, 2.2)
    assert opus.efforts == ("low", "medium", "high", "xhigh", "max")
    assert opus.thinking_types == ("adaptive", "disabled")
    assert opus.displays == ("summarized", "omitted")
    assert opus.native_max_tokens
    assert models["gpt-5.6-sol"].effort_field == "reasoning"
    assert models["claude-sonnet-4.5"].takes_fields is False
    assert models["auto"].takes_fields is None
    assert not models["glm-5"].images


def test_missing_numbers_come_from_the_built_in_table():
    body = b'{"models":[{"modelId":"claude-opus-5","tokenLimits":{"maxOutputTokens":null}},{"modelId":"new"}]}'
    opus, new = parse_models(body)
    assert opus.window == 1_000_000
    assert new == Model("new", takes_fields=False)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}"], ids=["nothing", "a page", "a list", "no models"])
def test_anything_else_is_an_error(body):
    with pytest.raises(UpstreamBroken, match="model list"):
        parse_models(body)


IDS = [model.id for model in KNOWN_MODELS]


@pytest.mark.parametrize(
    ("asked", "model"),
    [
        ("gpt-4o-mini", "claude-haiku-4.5"),
        ("gpt-3.5-turbo", "claude-haiku-4.5"),
        ("gemini-3.5-flash-lite", "claude-haiku-4.5"),
        ("models/gemini-3.8-flash", "claude-haiku-4.5"),
        ("gemini-3.1-pro-preview", "claude-sonnet-5.5"),
        ("claude-3-5-haiku-20241022", "claude-haiku-4.5"),
        ("claude-3-7-sonnet-20250219", "claude-sonnet-5.5"),
        ("o3", "claude-opus-5.5"),
        ("gpt-5.5", "gpt-5.6-sol"),
        ("gpt-6-sol", "gpt-5.6-sol"),
        ("codex-mini-latest", "claude-haiku-4.5"),
        ("no-such-model", None),
        ("claude-opus-9", None),
    ],
)
def test_a_name_of_somebody_else_s_model_has_a_stand_in(asked, model):
    assert stand_in(asked, IDS) == model


def test_without_a_gpt_of_kiro_s_the_newest_sonnet_stands_in():
    assert stand_in("gpt-5.5", ["claude-sonnet-4.5", "claude-haiku-4.5"]) == "claude-sonnet-4.5"
