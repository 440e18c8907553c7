"""How a client is told that its call was cut: every reason has its words in every manner."""

import base64
from typing import Any

import pytest

from crewgate.core.audit.records import CallOutcome
from crewgate.gateway.call.termination import ResponseFraming, send_termination
from crewgate.gateway.refusals import ProblemType

CUT = {
    CallOutcome.REVOKED: ("branch-revoked", b"16"),
    CallOutcome.EXPIRED: ("token-expired", b"16"),
    CallOutcome.EXHAUSTED: ("credits-exhausted", b"8"),
    CallOutcome.UNFUNDED: ("budget-unavailable", b"14"),
    CallOutcome.UNVOUCHED: ("revocation-unavailable", b"14"),
}
ID = bytes(16)


class Exchange:
    """An answer under way, and how it was ended."""

    done = False

    def __init__(self, *, started: bool) -> None:
        self.started = started
        self.last = b""
        self.trailers: list[tuple[bytes, bytes]] = []
        self.was_reset = False

    def finish(self, data: bytes, trailers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.last, self.trailers = data, trailers or []

    def reset(self, code: int) -> None:
        self.was_reset = True


class Tower:
    def __init__(self) -> None:
        self.said: list[str] = []

    def answer(self, exchange: Exchange, kind: ProblemType, request: bytes, **more: object) -> None:
        self.said.append(kind.slug)


def told(
    outcome: CallOutcome, manner: ResponseFraming, *, started: bool = True
) -> tuple[Exchange, Tower]:
    exchange, tower = Exchange(started=started), Tower()
    with_: Any = exchange, tower
    send_termination(outcome, *with_, ID, manner)
    return exchange, tower


@pytest.mark.parametrize("outcome", CUT)
def test_who_has_heard_nothing_yet_is_refused(outcome: CallOutcome) -> None:
    """With a problem of its own."""
    assert told(outcome, ResponseFraming(), started=False)[1].said == [CUT[outcome][0]]


@pytest.mark.parametrize("outcome", CUT)
def test_a_stream_of_events_ends_with_one(outcome: CallOutcome) -> None:
    """That holds the problem."""
    assert CUT[outcome][0].encode() in told(outcome, ResponseFraming(between_events=True))[0].last


@pytest.mark.parametrize("outcome", CUT)
def test_a_call_of_grpc_ends_with_a_status(outcome: CallOutcome) -> None:
    """In its trailers, with the problem."""
    trailers = dict(told(outcome, ResponseFraming(is_grpc=True))[0].trailers)
    assert trailers[b"grpc-status"] == CUT[outcome][1]
    details = base64.b64decode(trailers[b"grpc-status-details-bin"] + b"==")
    assert f"/problems/{CUT[outcome][0]}".encode() in details


@pytest.mark.parametrize("outcome", CallOutcome)
def test_an_answer_that_can_be_ended_in_no_such_way_is_torn_off(outcome: CallOutcome) -> None:
    """So that nobody takes it for whole; and all that is not a cut ends so."""
    manner = (
        ResponseFraming() if outcome in CUT else ResponseFraming(between_events=True, is_grpc=True)
    )
    assert told(outcome, manner)[0].was_reset
