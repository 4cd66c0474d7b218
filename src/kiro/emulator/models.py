"""The models the emulator offers: ids, windows, abilities, and the schema of their extra fields.

A snapshot of what Kiro listed in autumn 2026. Windows and multipliers of the real list differ by
plan and region and change; the emulator only needs them plausible and stable.
"""

from typing import Any, Final, Literal

import msgspec

Thinking = Literal["none", "silent", "claude", "gpt"]


class Model(msgspec.Struct, frozen=True):
    """`window` and `max_output` in tokens; `multiplier` in credits relative to `auto`.

    `thinking`: `none` understands tags in the prompt only; `silent` takes the fields and shows no
    reasoning; `claude` reasons first; `gpt` sends its reasoning, opaque, at the end.
    """

    id: str
    name: str
    window: int
    max_output: int | None
    multiplier: float
    thinking: Thinking = "none"
    efforts: tuple[str, ...] = ()
    thinking_types: tuple[str, ...] = ()
    images: bool = True
    fallback: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """The id without its version: reasoning is only taken back by a model of the same family."""
        words = []
        for word in self.id.split("-"):
            if word[0].isdigit():
                break
            words.append(word)
        return "-".join(words)

    @property
    def fields_schema(self) -> dict[str, Any] | None:
        """JSON Schema of `additionalModelRequestFields`; `None` when the model takes none."""
        if not self.efforts:
            return None
        effort = {"type": "string", "enum": list(self.efforts)}
        if self.thinking == "gpt":
            properties: dict[str, Any] = {"reasoning": _closed({"effort": effort, "mode": {"type": "string"}})}
        else:
            properties = {
                "thinking": _closed(
                    {
                        "type": {"type": "string", "enum": list(self.thinking_types)},
                        "display": {"type": "string", "enum": ["summarized", "omitted"]},
                    }
                ),
                "output_config": _closed({"effort": effort}),
            }
        if self.max_output is not None:
            properties["max_tokens"] = {"type": "integer", "minimum": 1, "maximum": self.max_output}
        return _closed(properties)

    def listing(self) -> dict[str, Any]:
        """The model as ListAvailableModels shows it."""
        document: dict[str, Any] = {
            "modelId": self.id,
            "modelName": self.name,
            "description": f"{self.name} (emulated)",
            "rateMultiplier": self.multiplier,
            "rateUnit": "Credit",
            "tokenLimits": {"maxInputTokens": self.window, "maxOutputTokens": self.max_output},
            "supportedInputTypes": ["TEXT", "IMAGE"] if self.images else ["TEXT"],
            "promptCaching": {
                "supportsPromptCaching": self.images,
                "minimumTokensPerCacheCheckpoint": 4096 if "haiku" in self.id else 1024,
                "maximumCacheCheckpointsPerRequest": 4,
            },
        }
        if self.fields_schema is not None:
            document["additionalModelRequestFieldsSchema"] = self.fields_schema
        if self.fallback:
            document["refusalFallbackModels"] = list(self.fallback)
        return document


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


_FOUR: Final = ("low", "medium", "high", "max")
_FIVE: Final = ("low", "medium", "high", "xhigh", "max")
_SWITCH: Final = ("adaptive", "disabled")
_ALWAYS: Final = ("adaptive", "between_tools")
_K: Final = 1000

MODELS: Final = (
    Model("auto", "Auto", 200 * _K, 64 * _K, 1.0),
    Model("claude-sonnet-4", "Claude Sonnet 4", 200 * _K, 64 * _K, 1.3),
    Model("claude-sonnet-4.5", "Claude Sonnet 4.5", 200 * _K, 64 * _K, 1.3),
    Model("claude-haiku-4.5", "Claude Haiku 4.5", 200 * _K, 64 * _K, 0.4),
    Model("claude-opus-4.5", "Claude Opus 4.5", 200 * _K, 64 * _K, 2.2),
    Model("claude-sonnet-4.6", "Claude Sonnet 4.6", 1000 * _K, 64 * _K, 1.3, "claude", _FOUR, _SWITCH),
    Model("claude-opus-4.6", "Claude Opus 4.6", 1000 * _K, 64 * _K, 2.2, "silent", _FOUR, _SWITCH),
    Model("claude-opus-4.7", "Claude Opus 4.7", 1000 * _K, 64 * _K, 2.2, "claude", _FIVE, _SWITCH),
    Model("claude-opus-4.8", "Claude Opus 4.8", 1000 * _K, 128 * _K, 2.2, "claude", _FIVE, _SWITCH),
    Model("claude-sonnet-5", "Claude Sonnet 5", 1000 * _K, 64 * _K, 1.3, "claude", _FIVE, _SWITCH),
    Model(
        "claude-sonnet-5.5",
        "Claude Sonnet 5.5",
        1000 * _K,
        64 * _K,
        1.3,
        "claude",
        _FIVE,
        _ALWAYS,
        fallback=("claude-sonnet-5",),
    ),
    Model(
        "claude-opus-5",
        "Claude Opus 5",
        1000 * _K,
        128 * _K,
        2.2,
        "claude",
        _FIVE,
        _SWITCH,
        fallback=("claude-opus-4.8",),
    ),
    Model("claude-fable-5", "Claude Fable 5", 1000 * _K, 128 * _K, 3.0, "claude", _FIVE, _SWITCH),
    Model("gpt-5.6-sol", "GPT-5.6 Sol", 272 * _K, 128 * _K, 4.4, "gpt", ("none", *_FIVE)),
    Model("gpt-5.6-luna", "GPT-5.6 Luna", 272 * _K, 128 * _K, 1.1, "gpt", ("none", *_FIVE)),
    Model("deepseek-3.2", "DeepSeek 3.2", 128 * _K, 64 * _K, 0.3, images=False),
    Model("glm-5", "GLM 5", 200 * _K, 64 * _K, 0.3, images=False),
    Model("minimax-m2.5", "MiniMax M2.5", 200 * _K, 64 * _K, 0.2, images=False),
    Model("qwen3-coder-next", "Qwen3 Coder Next", 256 * _K, 64 * _K, 0.2, images=False),
)


def find_model(models: tuple[Model, ...], model_id: str) -> Model | None:
    return next((model for model in models if model.id == model_id), None)


def answering_model(models: tuple[Model, ...], asked: Model) -> Model:
    """The model that really answers: `auto` becomes Sonnet 4.5, or the first other one on offer."""
    if asked.id != "auto":
        return asked
    others = [model for model in models if model.id != "auto"]
    return find_model(models, "claude-sonnet-4.5") or (others[0] if others else asked)
