"""What is read of an answer in passing, and what is held to be no statement at all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tariffs import PLAIN, STREAM, by_usage, cut, event, places, plain

from crewgate import limits
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.http_types import HeaderField
from crewgate.core.pricing.response_quantity_reader import ResponseQuantityReader
from crewgate.core.pricing.sources import (
    BytesTerm,
    HeaderTerm,
    ItemsTerm,
    NumberTerm,
    PriceTerm,
    TrailerTerm,
)
from crewgate.core.pricing.tariff import Tariff
from crewgate.core.pricing.token_usage import TokenUsage

HEADER, TRAILER = HeaderTerm(1, ("x-cost",)), TrailerTerm(1, ("x-cost",))
NUMBER, ITEMS = NumberTerm(1, ("usage", "pages")), ItemsTerm(1, ("data",))


def reading(*terms: PriceTerm, piece_bytes: int = 65_536, **flags: Any) -> ResponseQuantityReader:
    tariff = Tariff(0, 100, response=terms, usage=flags.pop("usage", None))
    return ResponseQuantityReader(
        tariff,
        piece_bytes=piece_bytes,
        hides_usage=flags.get("hides_usage", False),
        room=flags.get("room"),
    )


def hear(
    read: ResponseQuantityReader,
    *pieces: bytes,
    status: int = 200,
    headers: tuple[HeaderField, ...] | list[HeaderField] = (),
    trailers: tuple[HeaderField, ...] = (),
) -> bytes:
    """All of an answer; what is passed on of it."""
    read.begin(status, headers)
    passed = b"".join(piece for data in pieces for piece in read.feed(data))
    return passed + b"".join(read.end(trailers))


@pytest.mark.parametrize(
    ("headers", "trailers", "stated"),
    [
        ([(b"x-cost", b"7")], (), {0: 7}),
        ([(b"X-Cost", b" 7 ")], (), {0: 7}),
        ([(b"x-cost", b"7")], ((b"x-cost", b"9"),), {0: 7, 1: 9}),
        ([], ((b"X-COST", b"0.5e1"),), {1: 5}),
        ([(b"x-costs", b"7"), (b"cost", b"7")], (), {}),
        ([], (), {}),
    ],
)
def test_a_fields_number_is_read_where_it_belongs(
    headers: list[HeaderField], trailers: tuple[HeaderField, ...], stated: dict[int, int]
) -> None:
    """A header is no trailer; names are the same in any case; what is missing is not stated."""
    read = reading(HEADER, TRAILER)
    assert hear(read, b"body", headers=headers, trailers=trailers) == b"body"
    assert (read.stated, read.status, read.bytes) == (stated, 200, 4)


@pytest.mark.parametrize(
    "value",
    [b"", b"-1", b"NaN", b"inf", b"1e999", b"0x5", b"5, 5", b"5;q=1", b'"5"', b"true", b"\xff",
     b"9007199254740992", "٣".encode()],
)  # fmt: skip
def test_an_unreadable_field_states_nothing(value: bytes) -> None:
    """Neither is it zero, nor does it hide what else is stated."""
    read = reading(HEADER, TRAILER)
    hear(read, headers=[(b"x-cost", value)], trailers=((b"x-cost", b"1"),))
    assert read.stated == {1: 1}
    read = reading(HEADER, TRAILER)
    hear(read, headers=[(b"x-cost", b"1")], trailers=((b"x-cost", value),))
    assert read.stated == {0: 1}


@pytest.mark.parametrize(
    ("body", "stated"),
    [
        (b'{"usage":{"pages":3},"data":[1,2]}', {0: 3, 1: 2}),
        (b' {"usage" : {"pages" : 3.5e0}, "data":"a"} ', {0: 3.5, 1: 1}),
        (b'{"usage":{"pages":1,"pages":3}}', {0: 3}),
        (b'{"usage":{"p\\u0061ges":3}}', {0: 3}),
        (b'{"usage":{"pages":-3},"data":[]}', {1: 0}),
        (b'{"usage":{"pages":"3"},"data":null}', {1: 0}),
        (b'{"usage":{"pages":true}}', {}),
        (b'{"usage":{"pages":null}}', {}),
        (b'{"usage":{"pages":[3]}}', {}),
        (b'{"usage":{"pages":1e999}}', {}),
        (b'{"usage":{"pages":3,"PAGES":4}}', {}),
        (b'{"usage":{"pages":3},"u\xc5\xbfage":{"pages":4}}', {}),
        (b'{"usage":[{"pages":3}]}', {}),
        (b'{"usage":3}', {}),
        (b'{"usage":{"pages":NaN}}', {}),
        (b'{"usage":{"pages":3}', {}),
        (b'{"usage":{"pages":3}}{}', {}),
        (b'[{"usage":{"pages":3}}]', {}),
        (b"pages=3", {}),
        (b"", {}),
        (b"\xff\xfe", {}),
        (b'{"usage":' * 100_000, {}),
    ],
)
def test_a_documents_numbers_are_read_at_its_end(body: bytes, stated: dict[int, float]) -> None:
    """What two readers could read differently, or none could, is not stated; the body passes."""
    read = reading(NUMBER, ITEMS)
    assert hear(read, body, headers=PLAIN) == body
    assert read.stated == stated


def test_a_document_that_is_too_long_states_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is passed on and not kept."""
    monkeypatch.setattr(limits, "priced_answer_bytes_max", 30)
    body = plain({"usage": {"pages": 3}})
    for more, stated in ((30 - len(body), {0: 3}), (31 - len(body), {})):
        read = reading(NUMBER)
        assert hear(read, body, b" " * more, headers=PLAIN) == body + b" " * more
        assert read.stated == stated


def test_documents_are_kept_where_there_is_room() -> None:
    """What one has taken is another's when it is over; one that finds none states nothing."""
    body = plain({"usage": {"pages": 3}})
    room = FairShareLimiter(len(body) + 1)
    first, second = reading(NUMBER, room=room), reading(NUMBER, room=room)
    for read in (first, second):
        read.begin(200, PLAIN)
        assert b"".join(read.feed(body)) == body
    assert room.taken == len(body)
    list(first.end([]))
    list(second.end([]))
    assert (first.stated, second.stated, room.taken) == ({0: 3}, {}, 0)
    third = reading(NUMBER, room=room)
    third.begin(200, PLAIN)
    list(third.feed(body))
    third.close()
    third.close()
    assert room.taken == 0


@pytest.mark.parametrize(
    ("coding", "is_read"),
    [(b"identity", True), (b" Identity ", True), (b"gzip", False), (b"br, identity", False),
     (b"", False)],
)  # fmt: skip
def test_what_is_coded_states_nothing(coding: bytes, is_read: bool) -> None:
    """Neither a document nor a stream is decompressed; that some of it is not known, is."""
    field = (b"Content-Encoding", coding)
    body = plain(last)
    read = reading(usage=by_usage())
    assert hear(read, body, headers=[*PLAIN, field]) == body
    assert (read.counts is not None) is is_read
    read = reading(usage=by_usage())
    assert hear(read, event(last), headers=[*STREAM, field]) == event(last)
    assert (read.counts is not None, read.streams, read.is_dark) == (is_read, is_read, not is_read)


def test_what_is_not_read_yet_is_dark(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document until its end, and a stream whose event is over its bound."""
    monkeypatch.setattr(limits, "event_bytes_max", 300)
    read = reading(usage=by_usage())
    read.begin(200, PLAIN)
    assert read.is_dark
    read = reading(usage=by_usage())
    read.begin(200, STREAM)
    list(read.feed(event(chunk)))
    assert not read.is_dark
    list(read.feed(b"data: " + b"a" * 300))
    assert read.is_dark


def test_each_event_may_state_anew() -> None:
    """The last statement counts, and one that cannot be read takes the ones before it away."""
    read = reading(NUMBER)
    read.begin(200, STREAM)
    for value, stated in ((1, {0: 1}), ("many", {}), (2, {0: 2}), (None, {}), (5, {0: 5})):
        list(read.feed(event({"usage": {"pages": value}})))
        assert read.stated == stated
    list(read.feed(event({"usage": {}}) + b": pages\n\ndata: [DONE]\n\ndata: 5\n\nevent: a\n\n"))
    assert (read.stated, read.streams) == ({0: 5}, True)


chunk = {"choices": [{"delta": {"content": "abc"}}]}
last = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}


def test_a_stream_that_ends_within_an_event_is_read_to_its_end() -> None:
    """Its last blank line may be missing, and what was held for that is passed on."""
    stream = event(chunk) + event(last)[:-2]
    read = reading(NUMBER, usage=by_usage())
    read.begin(200, STREAM)
    assert list(read.feed(stream)) == [event(chunk)]
    assert (list(read.end([])), read.counts) == ([event(last)[:-2]], TokenUsage(3, 0, 0, 4))
    assert read.bytes == len(stream)


@pytest.mark.parametrize("hides", [True, False])
def test_usage_that_a_client_did_not_ask_for_is_not_passed_on(hides: bool) -> None:
    """It is read all the same, and every other event passes as it came."""
    text = event(chunk) + b": comment\r\n\r\n"
    stream = [text, event(last), b"data: [DONE]\n\n"]
    read = reading(usage=by_usage(), hides_usage=hides)
    assert hear(read, *stream, headers=STREAM) == b"".join(stream[:: 2 if hides else 1])
    assert (read.counts, read.is_final) == (TokenUsage(3, 0, 0, 4), True)
    assert (read.text, read.events) == (4, 2)  # an event without text has some all the same
    assert read.bytes == sum(map(len, stream))


def test_what_a_message_began_with_is_not_its_usage() -> None:
    """Anthropic's first event states what was read; the answer's own tokens come at its end."""
    read = reading(usage=by_usage("anthropic"))
    read.begin(200, STREAM)
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}}
    list(read.feed(event(start)))
    assert (read.counts, read.is_final) == (TokenUsage(5, 0, 0, 1), False)
    list(read.feed(event({"type": "content_block_delta", "delta": {"text": "abcd"}})))
    assert (read.is_final, read.text, read.events) == (False, 5, 2)
    list(read.feed(event({"type": "message_delta", "usage": {"output_tokens": 9}})))
    assert (read.counts, read.is_final) == (TokenUsage(5, 0, 0, 9), True)


@pytest.mark.parametrize(
    "bad",
    [b'data: {"usage":{"prompt_tokens":-1}}\n\n', b'data: {"usage":{"prompt_tokens":true}}\n\n',
     b'data: {"usage":{"prompt_tokens":1e999}}\n\n', b'data: {"usage":\n\n',
     b'data: {"delta":"\xff"}\n\n',
     b'data: {"usage":{"prompt_tokens":NaN}}\n\n', b"data: {" + b'"a":{' * 5000 + b"\n\n"],
)  # fmt: skip
def test_an_event_that_states_nonsense_leaves_nothing_stated(bad: bytes) -> None:
    """Not even what was stated before; the event itself is its client's to read."""
    read = reading(usage=by_usage(), hides_usage=True)
    assert hear(read, event(last), bad, headers=STREAM) == bad
    assert (read.counts, read.is_final) == (None, False)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (plain(last), TokenUsage(3, 0, 0, 4)),
        (plain({"usage": {"prompt_tokens": 3, "completion_tokens": "4"}}), None),
        (
            b'{"usage":{"prompt_tokens":9},"usage":%b}' % plain(last["usage"]),
            TokenUsage(3, 0, 0, 4),
        ),
        (plain([{}, last]), TokenUsage(3, 0, 0, 4)),
        (plain([last, {}]), None),
        (b"[]", None),
        (b"null", None),
        (b'"usage"', None),
        (plain(last)[:-1], None),
        (plain({"error": {"message": "no"}}), None),
    ],
)
def test_a_whole_answers_usage_is_read_at_its_end(body: bytes, found: TokenUsage | None) -> None:
    """Of an array, which is how Gemini streams without events, the last value states it."""
    read = reading(usage=by_usage(), hides_usage=True)
    assert hear(read, body, headers=PLAIN) == body
    assert (read.counts, read.is_final) == (found, found is not None)


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(1, 20))
def test_pieces_are_small_and_all_of_it(data: list[bytes], most: int) -> None:
    """What is read byte by byte comes in pieces within the bound, and is what was sent."""
    read = reading(BytesTerm(1), piece_bytes=most)
    read.begin(200, STREAM)
    assert not read.streams
    pieces = [piece for part in data for piece in read.feed(part)]
    assert all(0 < len(piece) <= most for piece in pieces)
    assert b"".join(pieces) == b"".join(data)
    assert list(read.end([])) == []
    assert read.bytes == sum(map(len, data))


EVENTS = [chunk, last, {"usage": 5}, {"data": [1], "usage": {"pages": 2}}, {}]


@pytest.mark.parametrize("headers", [STREAM, PLAIN])
@given(st.lists(st.sampled_from(EVENTS)), st.booleans(), places)
def test_the_same_is_read_however_an_answer_is_cut(
    headers: list[HeaderField], events: list[object], hides: bool, at: list[int]
) -> None:
    """Neither what is stated nor what is passed on follows from where its pieces end."""
    stream = b"".join(map(event, events)) + b'data: {"usage":'
    if headers is PLAIN:
        stream = plain(events)

    def heard(pieces: list[bytes]) -> tuple[object, ...]:
        read = reading(NUMBER, ITEMS, hides_usage=hides, usage=by_usage())
        passed = hear(read, *pieces, headers=headers)
        guessed = read.text, read.events, read.bytes, read.is_dark
        return passed, read.stated, read.counts, read.is_final, guessed

    assert heard(cut(stream, at)) == heard([stream])
