"""The figures of a step."""

from array import array
from collections import Counter

import pytest

from crewgate.cli.output.load_test import print_results
from crewgate.load_test.result import StepResult


def step() -> StepResult:
    return StepResult(
        "100 a second",
        100.0,
        2.0,
        array("d", range(1, 101)),
        Counter({200: 90, 204: 5, 403: 5}),
        lost=3,
        unanswered=2,
        unsent=1,
    )


def test_a_percentile_is_a_time_that_was_measured() -> None:
    """The nearest rank; a step without an answer has none."""
    assert step().percentiles() == {"p50": 50, "p90": 90, "p99": 99, "p99.9": 100, "max": 100}
    assert StepResult("nothing", 1.0).percentiles() == {}
    assert StepResult("nothing", 1.0).per_second == 0


def test_each_request_is_counted_once() -> None:
    """A request that was not sent is no request."""
    assert (step().successes, step().others, step().per_second) == (95, 10, 50)
    document = step().document()
    assert document["statuses"] == {"200": 90, "204": 5, "403": 5}
    assert document["answers"] + document["lost"] + document["unanswered"] == 105


def test_what_is_not_2xx_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Below the table, with the reasons; also a client that is the limit."""
    result = step()
    result.client_share = 0.99
    print_results([StepResult("fine", 0.0, 1.0, array("d", [1.0]), Counter({200: 1})), result])
    out = capsys.readouterr().out
    assert "fine:" not in out
    assert (
        "100 a second: 5 with status 403, 3 lost with their stream or connection, "
        "2 without an answer, 1 not sent: no stream was free\n"
        "100 a second: the client used a whole core"
    ) in out
