"""What calls owe: before they begin, while their answers come, and at their end."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tariffs import PLAIN, STREAM, asking, by_usage, event, hear, plain, rated

from crewgate import limits
from crewgate.core.pricing.meter import Charge, CostMeter, FinalCharge
from crewgate.core.pricing.sources import BytesTerm, HeaderTerm, NumberTerm, PriceTerm
from crewgate.core.pricing.tariff import MILLION, DisconnectPolicy, LLMDialect, Tariff

HEADER, BYTES = HeaderTerm(MILLION, ("x-cost",)), BytesTerm(MILLION)
NUMBER = NumberTerm(MILLION, ("pages",))


def metered(
    dialect: LLMDialect = "openai", *, step: int = 0, hides: bool = False, **asked: Any
) -> CostMeter:
    """Of a model's call: it reads at most 10 tokens of a micro-credit, writes 100 of ten."""
    tariff = Tariff(2, 10_000, usage=by_usage(dialect), step=step)
    return CostMeter(tariff, [], asking(**asked), hides_usage=hides)


def termed(*terms: PriceTerm, step: int = 0, charges: tuple[Charge, ...] = ()) -> CostMeter:
    return CostMeter(Tariff(2, 1000, response=terms, step=step), charges)


CHAT = {"usage": {"prompt_tokens": 5, "completion_tokens": 7}}
MESSAGE = {"usage": {"input_tokens": 5, "output_tokens": 7}}
CONTENT = {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7}}


def delta(text: str) -> bytes:
    return event({"choices": [{"delta": {"content": text}}]})


def test_a_call_is_reserved_at_its_dearest() -> None:
    """All that it may read, at the dearest rate for that, and all that it may write."""
    tariff = Tariff(2, 10**9, usage=by_usage())
    dear = rated(input=MILLION, cached=3 * MILLION, cache_write=2 * MILLION)
    meter = CostMeter(tariff, [(MILLION, 5)], asking(dear, choices=2))
    assert (meter.request_cost, meter.max_cost, meter.bound) == (7, 7 + 30 + 2000, 7 + 30 + 2000)
    assert termed(HEADER).bound == 1000
    fixed = CostMeter(Tariff(2, 1000, request=(BYTES,)), [(MILLION, 9)])
    assert (fixed.request_cost, fixed.bound) == (11, 11)


def test_a_stream_begins_with_a_step() -> None:
    """What the request costs is reserved with it; never is it more than the whole."""
    assert (metered(step=50).bound, metered(step=50).grows) == (62, True)
    assert metered(step=5000).bound == metered().bound == 1012
    assert (metered(step=50, streams=False).bound, metered(step=50, streams=False).grows) == (
        1012,
        False,
    )
    assert (termed(BYTES, step=50, charges=((MILLION, 9),)).bound, termed(BYTES).grows) == (
        61,
        False,
    )


credit_of = st.integers(0, 10**7)
rates = st.integers(0, 3 * MILLION)


@given(credit_of, rates, rates, st.integers(1, 4), st.integers(0, 9999), st.fractions(0, 10**4))
def test_credit_pays_for_the_tokens_that_it_is_said_to(
    credit: int, read: int, answered: int, choices: int, size: int, units: Fraction
) -> None:
    """So many are within the credit, all roundings included, and one more would not be."""
    model = rated(input=read, output=answered, cached=0, cache_write=0)
    tariff = Tariff(3, 10**9, usage=by_usage("openai", model))
    request = asking(model, read=size, choices=choices)
    meter = CostMeter(tariff, [(12_345, units)], request)
    tokens = meter.tokens_for(credit)

    def worst(written: int) -> int:
        return CostMeter(tariff, [(12_345, units)], request._replace(written=written)).max_cost

    if answered == 0:
        assert tokens == 0
        return
    assert tokens == 0 or worst(tokens) <= credit
    assert worst(tokens + 1) >= credit


def test_no_tokens_are_bought_of_what_has_none() -> None:
    """A price that is not a model's cannot be lowered by them."""
    assert termed(BYTES).tokens_for(1000) == 0
    assert metered().tokens_for(-5) == 0


ANSWERS: list[tuple[LLMDialect, list[tuple[bytes, bytes]], list[bytes]]] = [
    ("openai", PLAIN, [plain(CHAT)]),
    ("openai", PLAIN, [plain(MESSAGE)]),
    ("openai", STREAM, [delta("abc"), event({**CHAT, "choices": []}), b"data: [DONE]\n\n"]),
    ("openai", STREAM, [event({"type": "response.completed", "response": MESSAGE})]),
    ("anthropic", PLAIN, [plain(MESSAGE)]),
    (
        "anthropic",
        STREAM,
        [
            event({"type": "message_start", "message": {"usage": {"input_tokens": 5}}}),
            event({"type": "message_delta", "usage": {"output_tokens": 7}}),
            event({"type": "message_stop"}),
        ],
    ),
    ("gemini", PLAIN, [plain(CONTENT)]),
    ("gemini", PLAIN, [plain([{"candidates": []}, CONTENT])]),
    ("gemini", STREAM, [event({"candidates": []}), event(CONTENT)]),
]


@pytest.mark.parametrize("step", [0, 20])
@pytest.mark.parametrize(("dialect", "headers", "pieces"), ANSWERS)
def test_a_stated_usage_is_what_is_charged(
    dialect: LLMDialect, headers: list[tuple[bytes, bytes]], pieces: list[bytes], step: int
) -> None:
    """Five tokens read and seven answered, in each dialect, as a whole and as a stream."""
    meter = metered(dialect, step=step)
    hear(meter, 200, headers, pieces)
    assert meter.bill(1012, complete=True) == FinalCharge(2 + 5 + 70)


def test_what_is_stated_beyond_the_reservation_is_overrun() -> None:
    """The reservation is charged, and no more."""
    meter = metered()
    hear(meter, 200, PLAIN, [plain(CHAT)])
    assert meter.bill(77, complete=True) == FinalCharge(77)
    assert meter.bill(76, complete=True) == FinalCharge(76, 1)
    assert meter.bill(0, complete=True) == FinalCharge(0, 77)
    meter = termed(HeaderTerm(limits.rate_micro_max, ("x-cost",)))
    hear(meter, 200, [(b"x-cost", b"%d" % limits.amount_max)], [])
    assert meter.bill(7, complete=True) == FinalCharge(
        7, limits.quota_micro_max
    )  # what records can hold


NONSENSE = [
    b"", b"{}", b"null", b"[]", b"usage", b"\xff", b'{"usage":null}', b'{"usage":7}',
    b'{"usage":{"prompt_tokens":-1,"completion_tokens":1}}',
    b'{"usage":{"prompt_tokens":1,"completion_tokens":"1"}}',
    b'{"usage":{"prompt_tokens":1,"completion_tokens":true}}',
    b'{"usage":{"prompt_tokens":1,"completion_tokens":1.5}}',
    b'{"usage":{"prompt_tokens":1,"completion_tokens":NaN}}',
    b'{"usage":{"prompt_tokens":1,"completion_tokens":1e999}}',
    b'{"usage":{"prompt_tokens":1,"completion_tokens":99999999999}}',
    b'{"usage":{"prompt_tokens":[1],"completion_tokens":1}}',
    b'{"USAGE":{"prompt_tokens":1,"completion_tokens":1}}',
    b'{"usage":{"prompt_tokens":1,"completion_tokens":1}', b'{"usage":' * 5000,
]  # fmt: skip


@pytest.mark.parametrize("body", NONSENSE)
def test_what_is_not_stated_costs_the_reservation(body: bytes) -> None:
    """Missing, negative, not a number or unreadable: as a document and as an event."""
    for headers, data in ((PLAIN, body), (STREAM, b"data: " + body + b"\n\n")):
        meter = metered()
        hear(meter, 200, headers, [data])
        assert meter.bill(500, complete=True) == FinalCharge(500)


@pytest.mark.parametrize("status", [400, 404, 429, 500, 599])
def test_an_error_that_states_nothing_costs_what_the_request_does(status: int) -> None:
    """Nothing was done; where it does state a cost, that is charged."""
    meter = CostMeter(Tariff(2, 1000, usage=by_usage()), [(MILLION, 9)], asking())
    hear(meter, status, PLAIN, [plain({"error": {}})])
    assert meter.bill(500, complete=True) == FinalCharge(11)
    assert meter.bill(7, complete=True) == FinalCharge(7)
    meter = CostMeter(Tariff(2, 1000, usage=by_usage()), [(MILLION, 9)], asking())
    hear(meter, status, PLAIN, [plain(CHAT)])
    assert meter.bill(500, complete=True) == FinalCharge(11 + 75)
    meter = termed(HEADER, charges=((MILLION, 9),))
    hear(meter, status, [], [b"no"])
    assert meter.bill(500, complete=True) == FinalCharge(11)


@pytest.mark.parametrize("status", [200, 204, 301, 399])
def test_any_other_answer_that_states_nothing_costs_the_reservation(status: int) -> None:
    """Below 400 something may have been done."""
    meter = termed(HEADER)
    hear(meter, status, [(b"x-cost", b"-5")], [])
    assert meter.bill(500, complete=True) == FinalCharge(500)


def test_each_term_of_an_answer_is_charged_and_none_may_be_missing() -> None:
    """A header, a number in the body and the body's bytes."""
    body = b'{"pages":3}'
    meter = termed(HEADER, NUMBER, BYTES, charges=((MILLION, 9),))
    hear(meter, 200, [*PLAIN, (b"x-cost", b"5")], [body])
    assert meter.bill(1000, complete=True) == FinalCharge(11 + 5 + 3 + 11)
    meter = termed(HEADER, NUMBER, BYTES)
    hear(meter, 200, PLAIN, [body])
    assert meter.bill(1000, complete=True) == FinalCharge(1000)


def test_an_answer_that_never_came_costs_the_reservation() -> None:
    """The request was seen, and nobody knows what was done."""
    for meter in (metered(), termed(BYTES), termed(HEADER)):
        assert meter.bill(500, complete=False) == FinalCharge(500)


def test_an_answer_that_was_cut_off_costs_what_had_come() -> None:
    """Where that can be told: bytes, a header that was there, a stream's text; else it is all."""
    meter = termed(BYTES)
    meter.begin(200, [])
    assert list(meter.feed(b"abc")) == [(b"abc", 5)]
    assert meter.bill(500, complete=False) == FinalCharge(5)
    meter = termed(HEADER)
    meter.begin(200, [(b"x-cost", b"7")])
    assert meter.bill(500, complete=False) == FinalCharge(9)
    meter = termed(NUMBER)
    meter.begin(200, PLAIN)
    list(meter.feed(b'{"pages":3'))
    assert meter.bill(500, complete=False) == FinalCharge(500)
    for meter, headers, owed in ((metered(), STREAM, 2 + 10 + 40), (metered(), PLAIN, 500)):
        meter.begin(200, headers)  # all may be read, eleven bytes are four tokens
        list(meter.feed(delta("hello world")))
        assert meter.bill(500, complete=False) == FinalCharge(owed)


def test_a_message_that_was_cut_off_costs_what_it_began_with_and_its_text() -> None:
    """Anthropic's first event states what was read."""
    meter = metered("anthropic")
    meter.begin(200, STREAM)
    list(meter.feed(event({"type": "message_start", "message": {"usage": {"input_tokens": 8}}})))
    list(meter.feed(event({"type": "content_block_delta", "delta": {"text": "abcdefg"}})))
    assert meter.bill(500, complete=False) == FinalCharge(2 + 8 + 30)


def test_a_models_answer_that_cannot_be_guessed_at_costs_all_that_it_may() -> None:
    """One that is heard to its end without steps may have thought unseen; one is compressed."""
    coded = [*STREAM, (b"content-encoding", b"gzip")]
    calls: list[tuple[DisconnectPolicy, int, list[tuple[bytes, bytes]], int]] = [
        ("drain", 0, STREAM, 500),
        ("drain", 20, STREAM, 2 + 10 + 40),
        ("cancel", 0, STREAM, 2 + 10 + 40),
        ("cancel", 20, coded, 500),
    ]
    for on_disconnect, step, headers, owed in calls:
        tariff = Tariff(2, 10**4, usage=by_usage(), step=step, on_disconnect=on_disconnect)
        meter = CostMeter(tariff, [], asking())
        meter.begin(200, headers)
        list(meter.feed(delta("hello world")))
        assert meter.bill(500, complete=False) == FinalCharge(owed)


@pytest.mark.parametrize(
    "headers", [PLAIN, [], [*STREAM, (b"content-encoding", b"gzip")]], ids=["plain", "bare", "gzip"]
)
def test_a_stream_that_cannot_be_read_is_paid_for_in_full(
    headers: list[tuple[bytes, bytes]],
) -> None:
    """Nothing of it is passed on for less than all that it may cost."""
    meter = metered(step=20)
    meter.begin(200, headers)
    assert [due for _, due in meter.feed(plain(CHAT))] == [meter.max_cost]


def test_every_event_is_a_token_at_least() -> None:
    """Whatever its text looks like; what has no data is none."""
    meter = metered("anthropic", step=20)
    data = event({"type": "content_block_delta", "delta": {}}) * 3 + b": ping\n\n" * 5
    heard = hear(meter, 200, STREAM, [data])
    assert [due for _, due in heard] == [2 + 10 + 10 * count for count in (1, 2, 3, 3)]


def test_a_stream_that_states_its_usage_owes_that() -> None:
    """The guess before it was more, and what is owed does not fall; what is charged does."""
    meter = metered(step=20)
    heard = hear(meter, 200, STREAM, [delta("a" * 60), event({**CHAT, "choices": []})])
    assert [due for _, due in heard] == [2 + 10 + 200, 2 + 10 + 200]
    assert meter.bill(1012, complete=True) == FinalCharge(77)


def test_usage_that_is_hidden_is_charged() -> None:
    """The event that states it is not passed on, and nobody pays less for that."""
    meter = metered(hides=True, step=20)
    usage, done = event({**CHAT, "choices": []}), b"data: [DONE]\n\n"
    heard = hear(meter, 200, STREAM, [delta("abc"), usage, done])
    assert [data for data, _ in heard] == [delta("abc"), b"", done]
    assert meter.bill(1012, complete=True) == FinalCharge(77)
    assert meter.counts == (5, 0, 0, 7)


def test_pieces_are_no_longer_than_a_read() -> None:
    """Whatever a step would pay for."""
    meter = termed(BytesTerm(1), step=10**6)
    meter.begin(200, [])
    assert [len(piece.data) for piece in meter.feed(bytes(limits.receive_bytes + 1))] == [
        limits.receive_bytes,
        1,
    ]
