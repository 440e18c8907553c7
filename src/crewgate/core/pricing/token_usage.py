"""Reads the tokens, by kind, that a language model's response states, in three dialects.

A value that is not a number of tokens raises ValueError.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from crewgate import limits
from crewgate.core.pricing.tariff import LLMDialect, ModelRates


class TokenUsage(NamedTuple):
    """Tokens of one response.

    `fresh` were read as input, `cached` from the provider's cache; `stored` were written into the
    cache; `answered` are the output.
    """

    fresh: int = 0
    cached: int = 0
    stored: int = 0
    answered: int = 0

    def charges(self, model: ModelRates) -> list[tuple[int, int]]:
        """Return (rate, units) for each kind of token."""
        rates = model.input, model.cached, model.cache_write, model.output
        return list(zip(rates, self, strict=True))


_ABSENT = msgspec.Raw(b"null")


class ParsedLLMResponse(msgspec.Struct, frozen=True):
    """The members that are read of a response, or of an event of one; all others are skipped."""

    type: object = None
    usage: object = None
    message: msgspec.Raw = _ABSENT
    response: msgspec.Raw = _ABSENT
    usageMetadata: object = None  # noqa: N815 - Gemini's name
    choices: msgspec.Raw = _ABSENT
    delta: msgspec.Raw = _ABSENT
    content_block: msgspec.Raw = _ABSENT
    candidates: msgspec.Raw = _ABSENT


class _Inside(msgspec.Struct, frozen=True):
    """The members that are read of a whole response inside an event."""

    usage: object = None


_event: msgspec.json.Decoder[ParsedLLMResponse] = msgspec.json.Decoder(ParsedLLMResponse)
_inside: msgspec.json.Decoder[_Inside] = msgspec.json.Decoder(_Inside)
_any = msgspec.json.Decoder()


def read(text: bytes) -> ParsedLLMResponse:
    """Decode a response or an event; raise ValueError if it is not a JSON object."""
    return _event.decode(text)


def counts(
    dialect: LLMDialect, event: ParsedLLMResponse, before: TokenUsage | None
) -> TokenUsage | None:
    """Return the usage that a response, or an event of one, states; None if it states none.

    `before` is what earlier events stated; a later one may repeat a part of it only. Raises
    ValueError if a stated value is not a number of tokens.
    """
    if dialect == "gemini":
        stated = event.usageMetadata
        return _gemini(stated) if isinstance(stated, Mapping) else None
    stated = event.usage
    carried = bytes(event.message if dialect == "anthropic" else event.response)
    if stated is None and carried.startswith(b"{"):
        stated = _inside.decode(carried).usage
    if not isinstance(stated, Mapping):
        return None
    if dialect != "anthropic":
        return _openai(stated)
    found = _anthropic(stated, before or TokenUsage())
    if before is None:
        _require_stated(stated, "input_tokens")
        if event.type != "message_start":
            _require_stated(stated, "output_tokens")
    return found


def text_bytes(event: ParsedLLMResponse) -> int:
    """Estimate the bytes of generated text in an event of a stream."""
    parts = (event.delta, event.choices, event.content_block, event.candidates)
    return sum([_text_of(bytes(part)) for part in parts if part is not _ABSENT])


def is_usage_only(event: ParsedLLMResponse) -> bool:
    """Return whether an event has usage only: clients get it only if they asked for usage."""
    return bytes(event.choices).translate(None, b" \t\r\n") == b"[]" and bool(event.usage)


def _text_of(part: bytes) -> int:
    if part == b"null" or len(part) > limits.event_text_bytes_max:
        return 0 if part == b"null" else len(part)
    return _texts(_any.decode(part))


def _texts(value: object, depth: int = 8) -> int:
    if type(value) is str:
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    if depth and type(value) is dict:
        return sum([_texts(each, depth - 1) for each in value.values()])
    if depth and type(value) is list:
        return sum([_texts(each, depth - 1) for each in value])
    return 0


def _require_stated(stated: Mapping[str, object], *names: str) -> None:
    """Raise ValueError if none of the names is there: a missing number is not zero."""
    if all(stated.get(name) is None for name in names):
        raise ValueError(f"no {names[0]}")


def _tokens(stated: Mapping[str, object], *names: str) -> int:
    for name in names:
        value = stated.get(name)
        if value is None:
            continue
        if type(value) is not int or not 0 <= value <= limits.tokens_max:
            raise ValueError(f"{name} is not a number of tokens")
        return value
    return 0


def _part(stated: Mapping[str, object], *names: str) -> Mapping[str, object]:
    for name in names:
        value = stated.get(name)
        if isinstance(value, Mapping):
            return value
    return {}


def _openai(stated: Mapping[str, object]) -> TokenUsage:
    """Read OpenAI's usage: input includes cached tokens, and output includes reasoning tokens."""
    own = _tokens(stated, "prompt_tokens", "input_tokens")
    details = _part(stated, "prompt_tokens_details", "input_tokens_details")
    cached = min(own, _tokens(details, "cached_tokens"))
    stored = min(own - cached, _tokens(details, "cache_write_tokens"))
    answered = _tokens(stated, "completion_tokens", "output_tokens")
    _require_stated(stated, "prompt_tokens", "input_tokens")
    # Embeddings state the input only, which is their total.
    if not own or own != stated.get("total_tokens"):
        _require_stated(stated, "completion_tokens", "output_tokens")
    return TokenUsage(own - cached - stored, cached, stored, answered)


def _anthropic(stated: Mapping[str, object], before: TokenUsage) -> TokenUsage:
    """Read Anthropic's usage: totals so far, of which an event may omit some.

    Input does not include cached tokens.
    """
    names = (
        "input_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "output_tokens",
    )
    return TokenUsage(
        *(
            _tokens(stated, name) if stated.get(name) is not None else known
            for name, known in zip(names, before, strict=True)
        )
    )


def _gemini(stated: Mapping[str, object]) -> TokenUsage:
    """Read Gemini's usage: the prompt includes cached tokens, candidates exclude thoughts."""
    own = _tokens(stated, "promptTokenCount")
    cached = min(own, _tokens(stated, "cachedContentTokenCount"))
    answered = _tokens(stated, "candidatesTokenCount") + _tokens(stated, "thoughtsTokenCount")
    return TokenUsage(
        own - cached + _tokens(stated, "toolUsePromptTokenCount"), cached, 0, answered
    )
