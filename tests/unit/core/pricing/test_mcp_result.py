"""A message of an MCP server states how its request ends, and the price follows from that."""

import pytest
from tariffs import PLAIN, STREAM, event, plain

from crewgate import limits
from crewgate.core.pricing.mcp_result import ResultState, UnfinishedCalls, result_state
from crewgate.core.pricing.meter import CostMeter, FinalCharge
from crewgate.core.pricing.sources import NumberTerm
from crewgate.core.pricing.tariff import MILLION, Tariff

PAGES = NumberTerm(MILLION, ("result", "structuredContent", "pages"))
COMPLETE = {"id": 1, "result": {"structuredContent": {"pages": 7}}}
QUESTION = {"id": 1, "result": {"resultType": "input_required", "inputRequests": {}}}
FAILED = {"id": 1, "result": {"isError": True, "content": []}}
ERROR = {"id": 1, "error": {"code": -32602, "message": "no"}}
PROGRESS = {"method": "notifications/progress", "params": {"progress": 1}}


@pytest.mark.parametrize(
    ("message", "state"),
    [
        (COMPLETE, ResultState.COMPLETE),
        ({"result": {"resultType": "task", "isError": False}}, ResultState.COMPLETE),
        (QUESTION, ResultState.UNFINISHED),
        (FAILED, ResultState.FAILED),
        (ERROR, ResultState.FAILED),
        (PROGRESS, None),
        ({"result": 5}, None),
        ([COMPLETE], None),
    ],
)
def test_a_message_states_how_its_request_ends(message: object, state: ResultState | None) -> None:
    """A message that is no response, or that cannot be read, states nothing."""
    assert result_state(plain(message)) is state


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("answer", "cost"),
    [(COMPLETE, 9), (QUESTION, 2), (FAILED, 2), (ERROR, 2), ({"id": 1, "result": {}}, 100)],
)
def test_a_response_that_has_no_result_costs_what_its_request_does(
    answer: dict[str, object], cost: int, streams: bool
) -> None:
    """A complete result that states no number costs all that was reserved, as anywhere."""
    meter = CostMeter(Tariff(2, 100, response=(PAGES,), is_mcp=True))
    meter.begin(200, STREAM if streams else PLAIN)
    body = event(PROGRESS) + event(answer) if streams else plain(answer)
    assert b"".join(chunk.data for chunk in [*meter.feed(body), *meter.end([])]) == body
    assert meter.bill(100, complete=True) == FinalCharge(cost)


def test_unfinished_calls_are_free_up_to_a_number_in_a_row() -> None:
    """A complete call begins the count anew; branches and tools count apart."""
    calls = UnfinishedCalls()
    most = limits.unfinished_calls_max
    assert [calls.is_free(b"a", "t") for _ in range(most + 1)] == [True] * most + [False]
    assert calls.is_free(b"a", "u")
    assert calls.is_free(b"b", "t")
    assert not calls.is_free(b"a", "t")
    calls.complete(b"a", "t")
    assert calls.is_free(b"a", "t")


def test_the_count_takes_bounded_memory() -> None:
    """The branch whose last call is the oldest is forgotten."""
    calls = UnfinishedCalls()
    for number in range(limits.unfinished_tools_max + 10):
        calls.is_free(b"%d" % number, "t")
    assert len(calls._counts) == limits.unfinished_tools_max
    assert (b"0", "t") not in calls._counts
