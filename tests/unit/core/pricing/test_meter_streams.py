"""What is owed of an answer that comes in pieces: no more for how it is cut, and not too late."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tariffs import PLAIN, STREAM, asking, by_usage, cut, event, hear, places

from crewgate.core.pricing.llm_request import RequestedUsage
from crewgate.core.pricing.meter import CostMeter, FinalCharge
from crewgate.core.pricing.sources import BytesTerm, HeaderTerm, NumberTerm
from crewgate.core.pricing.tariff import MILLION, LLMDialect, Tariff, cost

DIALECTS: list[LLMDialect] = ["openai", "anthropic", "gemini"]
Fields = list[tuple[bytes, bytes]]


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """An event of any dialect: text, usage, or what is neither."""
    number = draw(st.integers(-1, 9))
    usage = dict.fromkeys(("prompt_tokens", "completion_tokens", "input_tokens"), number)
    metadata = {"promptTokenCount": number, "candidatesTokenCount": number}
    text = draw(st.text("aü\n ", max_size=40))
    kinds: list[object] = [
        {"choices": [{"delta": {"content": text}}], "usage": None},
        {"choices": [], "usage": usage},
        {"type": "message_start", "message": {"usage": {"input_tokens": number}}},
        {"type": "content_block_delta", "delta": {"text": text}},
        {"type": "message_delta", "usage": {"output_tokens": number}},
        {"candidates": [{"content": {"parts": [{"text": text}]}}], "usageMetadata": metadata},
        {"candidates": [{"content": {"parts": [{"text": text}]}}]},
    ]
    raw = st.sampled_from([b": ping\r\n\r\n", b"data: [DONE]\n\n", b'data: {"usage":\n\n', b"data"])
    return draw(raw) if draw(st.integers(0, 7)) == 0 else event(draw(st.sampled_from(kinds)))


streams = st.lists(events(), max_size=8).map(b"".join)
askings = st.sampled_from([asking(), asking(streams=False), asking(written=3, read=2)])


@pytest.mark.parametrize("headers", [STREAM, PLAIN, []], ids=["stream", "plain", "bare"])
@given(
    st.sampled_from(DIALECTS),
    streams,
    st.tuples(askings, st.sampled_from([0, 7, 500]), st.sampled_from([200, 500])),
    st.integers(0, 1200),
    places,
    st.booleans(),
)
def test_a_models_answer_is_billed_the_same_however_it_is_cut(
    headers: Fields,
    dialect: LLMDialect,
    stream: bytes,
    call: tuple[RequestedUsage, int, int],
    reserved: int,
    at: list[int],
    complete: bool,
) -> None:
    """Never for more than the reservation; what is owed never falls, and all of it is passed on."""
    request, step, status = call
    bills = []
    for pieces in (cut(stream, at), [stream]):
        meter = CostMeter(Tariff(2, 9999, usage=by_usage(dialect), step=step), [], request)
        if complete:
            heard = hear(meter, status, headers, pieces)
            assert b"".join(data for data, _ in heard) == stream
        else:
            meter.begin(status, headers)
            heard = [piece for data in pieces for piece in meter.feed(data)]
        dues = [due for _, due in heard]
        assert dues == sorted(dues)
        bill = meter.bill(reserved, complete=complete)
        assert 0 <= bill.cost <= reserved
        assert bill.overrun == 0 or (bill.overrun > 0 and bill.cost == reserved)
        bills.append(bill)
    assert bills[0] == bills[1]


@given(
    st.integers(0, 5000).map(bytes),
    st.sampled_from([1, 3, 2000]),
    st.sampled_from([1, MILLION, 3 * MILLION]),
    places,
    st.booleans(),
)
def test_bytes_are_paid_for_before_they_are_passed_on(
    data: bytes, step: int, rate: int, at: list[int], complete: bool
) -> None:
    """What is owed with a piece is what has come with it; that grows by a step, or by a KiB."""
    tariff = Tariff(2, 10**6, response=(BytesTerm(rate),), step=step)
    charges = ((MILLION // 2, 3),)
    meter = CostMeter(tariff, charges)
    meter.begin(200, PLAIN)
    pieces = [piece for part in cut(data, at) for piece in meter.feed(part)]
    passed, before = 0, meter.request_cost
    for piece in pieces:
        passed += len(piece.data)
        assert piece.due == cost(2, [*charges, (rate, passed)])
        assert piece.due - before <= max(step, -(-rate * 1024 // MILLION))
        before = piece.due
    assert b"".join(piece.data for piece in pieces) == data
    assert list(meter.end([])) == []
    owed = cost(2, [*charges, (rate, len(data))])
    assert meter.bill(10**6, complete=complete) == FinalCharge(owed)


@given(st.integers(0, 3000), st.integers(1, 3 * MILLION), st.integers(0, 300), st.integers(0, 9))
def test_bytes_that_are_paid_for_may_pass_unread(
    paid: int, rate: int, before: int, call: int
) -> None:
    """They cost no more than what is paid, and one byte more does; they count as those read do."""
    tariff = Tariff(call, 10**6, response=(BytesTerm(rate),), step=100)
    meter = CostMeter(tariff, ((MILLION // 2, 3),))
    meter.begin(200, PLAIN)
    list(meter.feed(bytes(before)))
    count = meter.unread_bytes(paid)
    meter.count_unread(count)
    owed = cost(call, [(MILLION // 2, 3), (rate, before + count)])
    assert meter.bill(10**6, complete=False) == FinalCharge(owed)
    assert owed <= paid or count == 0
    (piece,) = meter.feed(b"#")
    assert piece.due > paid


def test_bytes_that_may_state_the_cost_are_read() -> None:
    """A field of the head or of the trailers is none of them."""
    usage = by_usage("openai", bytes_per_token=4)
    for tariff in (Tariff(0, 9, usage=usage), Tariff(0, 9, response=(NumberTerm(1, ("a",)),))):
        assert CostMeter(tariff, [], asking() if tariff.usage else None).unread_bytes(10**6) == 0
    stated = Tariff(0, 9, response=(HeaderTerm(1, ("a",)),))
    assert CostMeter(stated).unread_bytes(9) == sys.maxsize


@given(
    st.sampled_from(DIALECTS), st.lists(st.text("aü", max_size=60), max_size=6), st.integers(1, 9)
)
def test_text_is_paid_for_before_it_is_passed_on(
    dialect: LLMDialect, texts: list[str], bytes_per_token: int
) -> None:
    """While no usage is stated, so many bytes are a token, up to all that may be answered."""
    usage = by_usage(dialect, bytes_per_token=bytes_per_token)
    meter = CostMeter(Tariff(0, 10**6, usage=usage, step=10), [], asking(written=50))
    meter.begin(200, STREAM)
    size = 0
    for text in texts:
        size += len(text.encode())
        kind = {"gemini": "candidates", "anthropic": "delta", "openai": "choices"}[dialect]
        (piece,) = meter.feed(event({kind: [{"text": text}]}))
        assert piece.due >= 10 * min(50, -(-size // bytes_per_token))


def test_what_a_cut_off_stream_had_stated_is_charged_unless_more_was_to_come() -> None:
    """Gemini's events each state what there is so far: the text behind them may be more."""
    text = "a" * 59  # and something of the other event: twenty tokens
    stated = {"openai": {"prompt_tokens": 5, "completion_tokens": 7}, "gemini": None}
    owing: list[tuple[LLMDialect, int]] = [("openai", 2 + 5 + 70), ("gemini", 2 + 5 + 200)]
    for dialect, owed in owing:
        meter = CostMeter(Tariff(2, 9999, usage=by_usage(dialect), step=7), [], asking())
        meter.begin(200, STREAM)
        metadata = {"promptTokenCount": 5, "candidatesTokenCount": 7}
        list(meter.feed(event({"choices": [{"delta": {"content": text}}]})))
        list(meter.feed(event({"usage": stated[dialect], "usageMetadata": metadata})))
        assert meter.bill(1000, complete=False) == FinalCharge(owed)


def test_a_term_that_an_unfinished_answer_had_not_stated_may_be_anything() -> None:
    """Its bytes alone do not tell what it costs."""
    terms = HeaderTerm(MILLION, ("x-cost",)), BytesTerm(MILLION)
    stating: list[tuple[Fields, int]] = [([(b"x-cost", b"5")], 2 + 5 + 3), ([], 500)]
    for headers, owed in stating:
        meter = CostMeter(Tariff(2, 1000, response=terms))
        meter.begin(200, headers)
        list(meter.feed(b"abc"))
        assert meter.bill(500, complete=False) == FinalCharge(owed)
