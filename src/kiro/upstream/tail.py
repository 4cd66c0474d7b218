"""What Kiro tells about an answer at its end: tokens, credits, share of the window, why it stopped.

Frames of the tail come in any order, any of them may be missing, and some come twice: the last token
numbers win, credits add up. The stop reason is unreliable for tools (END_TURN after a third of all
tool turns) and reliable for refusals and limits; `stop_reason` is the order of trust.
"""

from typing import Final

from kiro.conversation.counting import tokens_of
from kiro.conversation.events import StopReason, Usage
from kiro.upstream import payloads

_STOP_REASONS: Final[dict[str, StopReason]] = {
    "END_TURN": "end_turn",
    "TOOL_USE": "tool_use",
    "MAX_TOKENS": "max_tokens",
    "LENGTH": "max_tokens",
    "STOP_SEQUENCE": "stop_sequence",
    "CONTENT_FILTERED": "refusal",
    "GUARDRAIL": "refusal",
    "PAUSE_TURN": "pause_turn",
    "MODEL_CONTEXT_WINDOW_EXCEEDED": "model_context_window_exceeded",
}
_FULL_PERCENTAGE: Final = 80.0
"""From here on Kiro's percentage is a floor for our estimate; below, its rounding is worse than our error."""


class Tail:
    """Collects the tail of one answer. `seen` is False when none of it came: the body was cut."""

    __slots__ = ("_credits", "_percentage", "_reported", "_tokens", "refusal", "seen")

    def __init__(self) -> None:
        self.seen = False
        self.refusal: str | None = None
        """Why the model declined, in Kiro's words."""
        self._tokens: payloads.TokenUsage | None = None
        self._credits: float | None = None
        self._percentage: float | None = None
        self._reported: StopReason | None = None

    def take_metadata(self, payload: bytes) -> None:
        said = payloads.decode_metadata(payload)
        self.seen = True
        if said.tokenUsage is not None:
            self._tokens = said.tokenUsage
            if said.tokenUsage.contextUsagePercentage is not None:
                self._percentage = said.tokenUsage.contextUsagePercentage
        if said.stopReason:
            self._reported = _STOP_REASONS.get(said.stopReason.upper())
        if said.stopDetails is not None and said.stopDetails.refusal is not None:
            refusal = said.stopDetails.refusal
            self.refusal = refusal.explanation or refusal.category or "No reason given."

    def take_context(self, payload: bytes) -> None:
        self.seen = True
        said = payloads.decode_context(payload)
        if said.contextUsagePercentage is not None:
            self._percentage = said.contextUsagePercentage

    def take_metering(self, payload: bytes) -> None:
        self.seen = True
        said = payloads.decode_metering(payload)
        if said.usage is not None:
            self._credits = (self._credits or 0.0) + said.usage

    def stop_reason(self, *, cut_off: bool, called: bool) -> StopReason:
        """`cut_off`: a limit ended the answer, whatever Kiro says. `called`: at least one tool call is whole."""
        reported = self._reported
        if reported == "refusal" or self.refusal is not None:
            return "refusal"
        if cut_off or reported == "max_tokens":
            return "max_tokens"
        if reported == "model_context_window_exceeded":
            return reported
        if called:
            return "tool_use"
        if reported in ("pause_turn", "stop_sequence"):
            return reported
        if reported is None and (self._percentage or 0) >= 100:
            return "model_context_window_exceeded"
        return "end_turn" if self.seen else "max_tokens"

    def usage(self, *, prompt: int, window: int, plain_chars: int, wide_chars: int, thinking_chars: int) -> Usage:
        """Kiro's exact numbers; else estimates: `prompt` tokens and the characters received.

        Kiro's percentage of the `window` is a floor for the estimate when the window is nearly full.
        """
        thinking = tokens_of(thinking_chars, 0)
        output = tokens_of(plain_chars, wide_chars) + thinking
        exact = self._tokens
        if exact is not None and exact.uncachedInputTokens is not None and exact.outputTokens is not None:
            return Usage(
                input=exact.uncachedInputTokens,
                output=exact.outputTokens,
                cache_read=exact.cacheReadInputTokens or 0,
                cache_write=exact.cacheWriteInputTokens or 0,
                thinking=min(thinking, exact.outputTokens),
                credits=self._credits,
                context_percentage=self._percentage,
                source="exact",
            )
        if self._percentage is not None and self._percentage >= _FULL_PERCENTAGE:
            prompt = max(prompt, round(self._percentage * window / 100) - output)
        return Usage(
            input=prompt,
            output=output,
            thinking=thinking,
            credits=self._credits,
            context_percentage=self._percentage,
        )
