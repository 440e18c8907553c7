"""The price that is read in a request, what goes on of its body, and how bodies are bounded."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tariffs import PATHS, by_usage, plain, rated

from crewgate import limits
from crewgate.core.http_types import HeaderField
from crewgate.core.pricing.editable_json import UNPRICED
from crewgate.core.pricing.sources import BytesTerm, HeaderTerm, ItemsTerm, NumberTerm, PriceTerm
from crewgate.core.pricing.tariff import MILLION, LLMDialect, ModelRates, Tariff
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial
from crewgate.errors import InvalidRequestError
from crewgate.gateway.call.request_pricing import PricedRequest, price
from crewgate.server.request import Request, build

CHAT = {"model": "m", "messages": [], "max_tokens": 100}
SIZE = len(plain(CHAT)) + limits.framing_tokens  # so many tokens may be read, of one each
WORST = SIZE + 1000  # and each token answered costs ten
ITEMS = ItemsTerm(MILLION, ("queries",))
NUMBER = NumberTerm(MILLION, ("pages",))
BYTES = BytesTerm(MILLION)


def request(*headers: HeaderField, dialect: LLMDialect = "openai") -> Request:
    parts: dict[str, Any] = {"method": b"POST", "authority": b"a", "version": "2", "stream": 1}
    return build(target=PATHS[dialect], fields=list(headers), streamed=True, **parts)


def priced(
    body: object,
    *terms: PriceTerm,
    call: int = 0,
    most: int = 10**6,
    dialect: LLMDialect = "openai",
    models: tuple[ModelRates, ...] = (),
) -> PricedRequest:
    usage = None if terms else by_usage(dialect, *models)
    text = body if isinstance(body, bytes) else plain(body)
    return price(Tariff(call, most, request=terms, usage=usage), request(dialect=dialect), text)


def test_a_field_of_the_request_may_change_the_price() -> None:
    """It is looked at as the members are."""
    tariff = Tariff(0, 10**6, usage=by_usage("anthropic"))
    beta = request((b"anthropic-beta", b"context-1m-2025-08-07"), dialect="anthropic")
    assert '"context-1m-2025-08-07"' in refusal(lambda: price(tariff, beta, plain(CHAT)))


def refusal(work: Callable[[], object]) -> str:
    with pytest.raises(InvalidRequestError) as refused:
        work()
    assert refused.value.status == UNPRICED
    return str(refused.value)


def test_a_requests_terms_are_added_and_rounded_once() -> None:
    """Items, a number and bytes beside the call; the body goes on as it was read."""
    half = MILLION // 2
    terms = (
        ItemsTerm(half, ("queries",)),
        NumberTerm(half, ("pages",)),
        BytesTerm(1),
    )
    body = b' {"queries": ["a", "b"], "pages": 0.5, "pages": 2.1}'
    found = priced(body, *terms, call=7)
    assert found.bound == 7 + 3  # two items and 2.1 pages at a half, and a hair for the bytes
    assert found.body == b'{"queries":["a", "b"],"pages":2.1}'
    assert not found.is_upper_bound


def test_a_body_that_is_paid_by_its_size_passes_untouched() -> None:
    """It need not be JSON; nobody looks into it."""
    tariff = Tariff(1, 10**6, request=(BYTES,))
    for body in (b"", b"\xff\x00", b'{"a":1,"a":2}'):
        found = price(tariff, request((b"content-type", b"multipart/form-data")), body)
        assert (found.bound, found.body) == (1 + len(body), body)


def test_an_answers_price_is_reserved_at_its_most() -> None:
    """Nobody reads the request for it."""
    found = price(Tariff(5, 900, response=(HeaderTerm(1, ("x",)),)), request(), None)
    assert (found.bound, found.body, found.is_upper_bound) == (900, None, True)
    assert not found.lower(100)


@pytest.mark.parametrize(
    "body",
    [b"", b"5", b"null", b'"a"', b"a=1", b'{"pages":1', b'{"pages":NaN}', b"\xef\xbb\xbf{}",
     b"[" * 100_000, b'{"pages":1}{"pages":9}', b'{"\xff":1}',
     b'{"a":"\xff"}', '{"pages":1}'.encode("utf-16")],
)  # fmt: skip
def test_what_is_no_json_has_no_price(body: bytes) -> None:
    """Whatever its server would make of it."""
    assert refusal(lambda: priced(body, NUMBER)) == "its body is not a JSON object"
    assert refusal(lambda: priced(body)) == "its body is not a JSON object"


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"x-identity", b"identity, gzip", b""])
def test_what_is_compressed_has_no_price(coding: bytes) -> None:
    """Its server would read another text than the one that was priced."""
    fields = (b"content-encoding", b"identity"), (b"content-encoding", coding)
    for term in (NUMBER, BYTES):
        tariff = Tariff(0, 10**6, request=(term,))
        assert "compressed" in refusal(partial(price, tariff, request(*fields), b'{"pages":1}'))
        assert price(tariff, request(fields[0]), b'{"pages":1}').bound > 0


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (b"Application/X-WWW-Form-Urlencoded; charset=utf-8", "application/x-www-form-urlencoded"),
        (b"multipart/form-data; boundary=a", "multipart/*"),
        (b"application/json", ""),
        (b"text/plain", ""),
    ],
)
def test_a_form_has_no_price(kind: bytes, named: str) -> None:
    """Its server would not read it as the JSON that it may look like: curl's -d says form."""
    tariff = Tariff(0, 10**6, request=(NUMBER,))
    fields = (b"content-type", b"application/json"), (b"content-type", kind)
    if named:
        said = refusal(lambda: price(tariff, request(*fields), b'{"pages":1}'))
        assert said == f"Content-Type is {named}; send application/json"
    else:
        assert price(tariff, request(*fields), b'{"pages":1}').bound == 1


@pytest.mark.parametrize(
    "pages",
    ["", '"pages":null', '"pages":-1', '"pages":"1"', '"pages":true', '"pages":[1]', '"pages":{}',
     '"pages":1e999', '"pages":9007199254740992', '"pages":-0.0', '"pages":1,"pages":"1"'],
)  # fmt: skip
def test_a_number_that_is_none_has_no_price(pages: str) -> None:
    """It is neither zero nor what the first of its repetitions said."""
    said = refusal(lambda: priced(f"{{{pages}}}".encode(), NUMBER))
    assert said == "the body has no number of 0 or more at /pages"


@pytest.mark.parametrize(
    "queries",
    ["", '"queries":null', '"queries":"a"', '"queries":2', '"queries":{"a":1}', '"queries":true',
     '"queries":["a"],"queries":"a"'],
)  # fmt: skip
def test_items_of_no_array_have_no_price(queries: str) -> None:
    """What is not there or cannot be counted is neither nothing nor one."""
    said = refusal(lambda: priced(f"{{{queries}}}".encode(), ITEMS))
    assert said == "the body has no array at /queries"
    assert priced({"queries": []}, ITEMS).bound == 0


def test_the_whole_body_may_be_what_is_counted() -> None:
    """The empty pointer has no name that could be said."""
    everything = ItemsTerm(MILLION, ())
    assert priced(b"[1, 2]", everything).bound == 2
    assert refusal(lambda: priced({}, everything)) == "the body is no array"


@pytest.mark.parametrize("other", ["PAGES", "Pages", "page\u017f", "pa_ges", "-pages", "pages\0x"])
def test_a_second_spelling_has_no_price(other: str) -> None:
    """Its server might read that one."""
    for names in (("pages", other), (other, "pages"), (other,)):
        body = json.dumps(dict.fromkeys(names, 1)).encode()
        assert "two spellings" in refusal(partial(priced, body, NUMBER))
        assert "two spellings" in refusal(partial(priced, body, ItemsTerm(1, ("pages",))))


def test_a_call_that_may_cost_more_than_the_most_is_refused() -> None:
    """What is asked for is told with what is possible."""
    said = refusal(lambda: priced({"pages": 3}, NUMBER, most=2))
    assert said == "it may cost 0.000003 credits; a call of this tool costs at most 0.000002"
    assert priced({"pages": 2}, NUMBER, most=2).bound == 2


# Models.


def test_a_models_call_is_reserved_at_its_worst() -> None:
    """All that it may read and write; it may turn out to be less."""
    found = priced(CHAT)
    assert (found.bound, found.is_upper_bound) == (WORST, True)
    assert json.loads(found.body or b"") == CHAT


def test_a_stream_is_made_to_state_its_usage_unseen() -> None:
    """The client that did not ask for it will not see it."""
    found = priced({**CHAT, "stream": True})
    assert json.loads(found.body or b"")["stream_options"] == {"include_usage": True}
    for answer, hidden in (({"choices": [], "usage": {"prompt_tokens": 1}}, True), ({}, False)):
        found.meter.begin(200, [(b"content-type", b"text/event-stream")])
        event = b"data: " + plain(answer) + b"\n\n"
        assert [piece.data for piece in found.meter.feed(event)] == [b"" if hidden else event]
    asked = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    assert priced(asked).body == json.dumps(asked, separators=(",", ":")).encode()


def test_only_an_openai_is_asked_to_state_its_usage() -> None:
    """The others do so anyway, and might not know the option."""
    others: list[LLMDialect] = ["anthropic", "gemini"]
    for dialect in others:
        found = priced({**CHAT, "stream": True}, dialect=dialect, models=(rated(output_tokens=9),))
        assert "stream_options" not in json.loads(found.body or b"")


def test_what_grows_with_its_answer_is_no_loose_bound() -> None:
    """All but its last step is owed already."""
    for step, stream, is_upper_bound in ((5, True, False), (5, False, True), (0, True, True)):
        tariff = Tariff(0, 10**6, usage=by_usage(), step=step)
        assert (
            price(tariff, request(), plain({**CHAT, "stream": stream})).is_upper_bound
            is is_upper_bound
        )


def test_a_request_that_costs_more_than_the_most_alone_is_refused() -> None:
    """Also where the answer's price comes on top of it."""
    tariff = Tariff(0, 2, request=(NUMBER,), response=(HeaderTerm(1, ("x",)),))
    assert "it may cost 0.000003" in refusal(lambda: price(tariff, request(), b'{"pages":3}'))
    assert price(tariff, request(), b'{"pages":2}').bound == 2


DIALECTS: list[LLMDialect] = ["openai", "anthropic", "gemini"]


@pytest.mark.parametrize("dialect", DIALECTS)
@given(credit=st.integers(0, 2000), with_bound=st.booleans())
def test_an_answer_is_lowered_to_what_credit_pays_for(
    dialect: LLMDialect, credit: int, with_bound: bool
) -> None:
    """The call then costs no more than the credit, and its server is told of the bound."""
    body: dict[str, Any] = {"model": "m", "messages": []}
    if with_bound:
        body |= {"max_tokens": 100, "generationConfig": {"maxOutputTokens": 100}}
    models = (rated(output_tokens=100),)
    usage = by_usage(dialect, *models)
    text = plain(body)
    found = price(Tariff(0, 10**6, usage=usage), request(dialect=dialect), text)
    worst, before = found.bound, found.body
    if not found.lower(credit):
        assert (found.bound, found.body) == (worst, before)
        left = credit - len(text) - limits.framing_tokens
        assert credit >= worst or left < 10 * limits.lowered_tokens_min
        return
    assert found.bound <= credit < worst
    assert found.meter.request is not None
    again = price(Tariff(0, 10**6, usage=usage), request(dialect=dialect), found.body)
    assert again.meter.request is not None
    assert again.meter.request.written == found.meter.request.written


def test_a_call_is_lowered_to_the_most_and_then_to_what_is_left() -> None:
    """Each time the bound gets less, and never is an answer of fewer than 16 tokens one."""
    found = priced(CHAT, most=SIZE + 500)
    assert (found.bound, json.loads(found.body or b"")["max_tokens"]) == (SIZE + 500, 50)
    left = Denial(Reason.CREDITS_EXHAUSTED, used_micro=1000, quota_micro=1000 + SIZE + 205)
    assert found.lower_for(left)
    assert (found.bound, json.loads(found.body or b"")["max_tokens"]) == (SIZE + 200, 20)
    assert not found.lower_for(left)
    assert not found.lower(SIZE + 159)
    assert found.lower(SIZE + 160)
    assert found.bound == SIZE + 160


@pytest.mark.parametrize(
    "denial",
    [
        Denial(Reason.CREDITS_EXHAUSTED, used_micro=5000, quota_micro=10),
        Denial(Reason.BRANCH_REVOKED, used_micro=0, quota_micro=SIZE + 500),
        Denial(Reason.BUDGET_UNAVAILABLE, used_micro=0, quota_micro=SIZE + 500),
    ],
)
def test_no_other_refusal_lowers_a_call(denial: Denial) -> None:
    """Credit that is overdrawn neither."""
    found = priced(CHAT)
    assert not found.lower_for(denial)
    assert found.bound == WORST


def test_a_tool_may_refuse_instead_of_lowering() -> None:
    """The client's bound is then never changed."""
    usage = by_usage(on_short_credit="refuse")
    assert not price(Tariff(0, 10**6, usage=usage), request(), plain(CHAT)).lower(SIZE + 500)
    tariff = Tariff(0, SIZE + 500, usage=usage)
    assert "it may cost" in refusal(lambda: price(tariff, request(), plain(CHAT)))
