"""Requests and answers that can be read in two ways, or not at all, are never the cheaper ones."""

import json
from typing import Any

import pytest
from tariffs import PLAIN, STREAM, asking, by_usage, event, hear, plain, rated

from crewgate.core.pricing.meter import CostMeter, FinalCharge
from crewgate.core.pricing.sources import HeaderTerm
from crewgate.core.pricing.tariff import MILLION, LLMDialect, Tariff
from crewgate.errors import InvalidRequestError
from crewgate.gateway.call.request_pricing import PricedRequest, price
from crewgate.server.request import build

MUCH = json.dumps(dict.fromkeys(range(10_001), 0))
LONG = "abc" * 100
GEMINI = b"/v1beta/models/m:generateContent"
PROMPTS = b'{"model":"m","max_tokens":1000,"prompt":[null,"a","b","c"]}'


def priced(usage: Any, body: str | bytes, path: bytes) -> PricedRequest:
    """A request of this text."""
    request = build(
        method=b"POST", target=path, authority=b"a", fields=[], version="2", stream=1, streamed=True
    )
    text = body.encode() if isinstance(body, str) else body
    return price(Tariff(0, 10**9, usage=usage), request, text)


def meter(dialect: LLMDialect = "openai", *, step: int = 50, **asked: Any) -> CostMeter:
    """Of a call of a model whose tokens read cost 1 and answered 10 micro-credits."""
    return CostMeter(Tariff(0, 10**6, usage=by_usage(dialect), step=step), [], asking(**asked))


@pytest.mark.parametrize(
    ("dialect", "path", "body"),
    [
        (
            "openai",
            b"/v1/chat/completions",
            '{"model":"m","max_tokens":20,"stream":true,"stream_options":' + MUCH + "}",
        ),
        ("gemini", GEMINI, '{"generationConfig":' + MUCH + "}"),
        ("gemini", GEMINI, '{"generat\u0131onConfig":{"candidateCount":8}}'),
        (
            "openai",
            b"/v1/responses",
            '{"model":"m","input":"a","max_output_tokens":16,"previou\u017f_response_id":"r"}',
        ),
        ("anthropic", b"/v1/messages", r'{"model":"m","max_tokens":9,"c":{"ttl":"\u0031h"}}'),
        ("anthropic", b"/v1/messages", r'{"model":"m","max_tokens":9,"c":{"t\u0074l":"1h"}}'),
    ],
    ids=["members", "settings", "dotless", "long-s", "value", "name"],
)
def test_what_hides_a_price_is_refused(dialect: LLMDialect, path: bytes, body: str) -> None:
    """Too many members to look into; names that some readers take for others; escapes."""
    context = 1000 if dialect == "anthropic" else 0
    model = rated(output_tokens=50, context_tokens=context)
    with pytest.raises(InvalidRequestError):
        priced(by_usage(dialect, model), body, path)


def test_a_request_goes_on_in_one_spelling() -> None:
    """Gemini's settings are bounded where they stand, and embeddings not at all."""
    gemini = by_usage("gemini", rated(output_tokens=50))
    found = priced(gemini, '{"generation_config":{"temperature":0}}', GEMINI)
    assert json.loads(found.body or b"") == {
        "generation_config": {"temperature": 0, "maxOutputTokens": 50}
    }
    request = '{"model":"m","input":"a"}'
    found = priced(by_usage("openai", rated(output_tokens=50)), request, b"/v1/embeddings")
    assert json.loads(found.body or b"") == json.loads(request)
    asked = priced(by_usage(), PROMPTS, b"/v1/completions").meter.request
    assert asked is not None
    assert asked.choices == 4


@pytest.mark.parametrize(
    "usage",
    [{}, {"total_tokens": 5}, {"prompt_tokens": None}, {"completion_tokens": 1},
     {"prompt_tokens": 3}],
)  # fmt: skip
def test_what_is_not_stated_is_not_zero(usage: dict[str, Any]) -> None:
    """An answer without one of its counts costs all that was reserved."""
    call = meter(step=0, streams=False)
    hear(call, 200, PLAIN, [plain({"usage": usage})])
    assert call.bill(1010, complete=True) == FinalCharge(1010)


@pytest.mark.parametrize("start", [[], [{"input_tokens": -1}]])
def test_a_stream_without_a_good_start_is_not_stated(start: list[dict[str, int]]) -> None:
    """Anthropic's last event says nothing of what was read."""
    call = meter("anthropic", step=0)
    begun = [event({"type": "message_start", "message": {"usage": usage}}) for usage in start]
    end = event({"type": "message_delta", "usage": {"output_tokens": 1}})
    hear(call, 200, STREAM, [*begun, end])
    assert call.bill(1010, complete=True) == FinalCharge(1010)


EARLY = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 0}}
TEXT = {"choices": [{"delta": {"content": LONG}}]}
GEMINIS = {
    "candidates": [{"content": {"parts": [{"text": LONG}]}}],
    "usageMetadata": {"promptTokenCount": 5},
}
UNREAD = b'data: {"choices":[{"delta":{"content":"%b"},"p":-Infinity}]}\n\n' % LONG.encode()


@pytest.mark.parametrize(
    ("dialect", "stream"),
    [
        ("openai", [event(EARLY), event(TEXT)]),
        ("gemini", [event(GEMINIS), event(GEMINIS)]),
        ("openai", [UNREAD]),
    ],
)
def test_text_is_paid_for_whatever_was_stated_before(
    dialect: LLMDialect, stream: list[bytes]
) -> None:
    """After an early statement, beside one of the prompt alone, in an event that is no JSON."""
    call = meter(dialect, written=1000)
    call.begin(200, STREAM)
    dues = [piece.due for data in stream for piece in call.feed(data)]
    assert 1000 <= dues[-1] <= call.max_cost


def test_no_guess_is_over_the_worst() -> None:
    """Twenty bytes of a token are still one of ten."""
    call = meter(read=10, written=10)
    call.begin(200, STREAM)
    assert [piece.due for piece in call.feed(event(TEXT))] == [call.max_cost]


def test_an_error_costs_what_its_request_does() -> None:
    """It is passed on with little credit left, and cut off it costs no more."""
    call = meter(written=100)
    call.begin(429, PLAIN)
    assert [piece.due for piece in call.feed(plain({"error": {}}))] == [call.request_cost]
    assert call.bill(60, complete=False) == FinalCharge(call.request_cost)


def test_a_cost_that_stands_there_twice_is_none() -> None:
    """All that was reserved."""
    call = CostMeter(Tariff(1, 1000, response=(HeaderTerm(MILLION, ("x-cost",)),)))
    hear(call, 200, [(b"x-cost", b"900"), (b"x-cost", b"1")], [])
    assert call.bill(1000, complete=True) == FinalCharge(1000)
