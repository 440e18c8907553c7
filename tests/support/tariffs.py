"""Tariffs and language models' answers as small as they can be: tokens cost 1 read, 10 answered."""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import strategies as st

from crewgate.core.pricing.editable_json import UNPRICED, EditableJSON
from crewgate.core.pricing.llm_request import RequestedUsage, asked
from crewgate.core.pricing.meter import CostMeter, PricedChunk
from crewgate.core.pricing.tariff import MILLION, LLMDialect, ModelRates, UsagePricing
from crewgate.errors import InvalidRequestError

STREAM = [(b"content-type", b"text/event-stream; charset=utf-8")]
PLAIN = [(b"content-type", b"application/json")]
PATHS: dict[LLMDialect, bytes] = {
    "openai": b"/v1/chat/completions",
    "anthropic": b"/v1/messages",
    "gemini": b"/v1beta/models/m:generateContent",
}


def rated(name: str = "m", **changes: Any) -> ModelRates:
    rates = {"input": MILLION, "output": 10 * MILLION, "cached": MILLION, "cache_write": MILLION}
    return ModelRates(name, **{**rates, **changes})


# So that one body may be asked of every dialect; a tool allows nothing by itself.
OTHERS = ("messages", "prompt", "input", "model", "stream", "max_tokens", "max_completion_tokens",
          "max_output_tokens", "generationConfig", "generation_config", "stream_options",
          "functions", "system", "a")  # fmt: skip


def by_usage(dialect: LLMDialect = "openai", *models: ModelRates, **changes: Any) -> UsagePricing:
    """Prices of one dialect, which allow the members of the others beside `allow`."""
    allow = (*OTHERS, *changes.pop("allow", ()))
    return UsagePricing(dialect, models or (rated(),), allow=allow, **changes)


def asking(
    model: ModelRates | None = None, *, read: int = 10, written: int = 100, **changes: Any
) -> RequestedUsage:
    found = RequestedUsage(
        model or rated(), "m", read, written, 1, (("max_tokens",),), streams=True
    )
    return found._replace(**changes)


def plain(value: object) -> bytes:
    return json.dumps(value).encode()


def ask(
    body: object, dialect: LLMDialect = "openai", path: bytes = b"", **model: Any
) -> RequestedUsage:
    text = body if isinstance(body, bytes) else plain(body)
    allow = model.pop("allow", ())
    usage = by_usage(dialect, rated(**model), allow=allow)
    return asked(usage, EditableJSON(text), path or PATHS[dialect], len(text))


def refusal(body: object, dialect: LLMDialect = "openai", path: bytes = b"", **model: Any) -> str:
    with pytest.raises(InvalidRequestError) as refused:
        ask(body, dialect, path, **model)
    assert refused.value.status == UNPRICED
    return str(refused.value)


def event(value: object) -> bytes:
    return b"data: " + plain(value) + b"\n\n"


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The data in pieces, cut wherever one of the places falls into it."""
    at = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(at)]


def hear(
    meter: CostMeter, status: int, headers: Sequence[tuple[bytes, bytes]], pieces: Iterable[bytes]
) -> list[PricedChunk]:
    """An answer that comes whole: what is passed on of it, and what is owed by then."""
    meter.begin(status, headers)
    heard = [piece for data in pieces for piece in meter.feed(data)]
    return [*heard, *meter.end([])]


places = st.lists(st.integers(0, 10_000), max_size=12)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(texts, parts, max_size=4),
    max_leaves=10,
)  # fmt: skip
