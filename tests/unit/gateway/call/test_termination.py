"""How a client is told that its call was cut: every reason has its words in every manner."""

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_host import FakeHost
from gateway_world import config_of
from grant_builders import grant

from crewgate.config import UpstreamOrigin
from crewgate.core.audit.records import CallOutcome
from crewgate.gateway.call.termination import send_termination
from crewgate.gateway.routes import build
from crewgate.server.http1 import HTTP1

CUT = {
    CallOutcome.REVOKED: ("branch-revoked", b"16"),
    CallOutcome.EXPIRED: ("token-expired", b"16"),
    CallOutcome.EXHAUSTED: ("credits-exhausted", b"8"),
    CallOutcome.UNFUNDED: ("budget-unavailable", b"14"),
    CallOutcome.UNVOUCHED: ("revocation-unavailable", b"14"),
}
ID = bytes(16)
ANY_POOL: Any = SimpleNamespace(upstream=SimpleNamespace(protocol="h1"))


class Exchange:
    """An answer under way, and how it was ended."""

    done = False
    started = True
    request = None
    problem_format = None

    def __init__(self) -> None:
        self.last = b""
        self.trailers: list[tuple[bytes, bytes]] = []
        self.was_reset = False

    def finish(self, data: bytes, trailers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.last, self.trailers = data, trailers or []

    def reset(self, code: int) -> None:
        self.was_reset = True


GRANT = grant(1, 50)


def told(outcome: CallOutcome, **framing: bool) -> Exchange:
    exchange: Any = Exchange()
    routes: Any = SimpleNamespace(serves_models=False)
    send_termination(outcome, exchange, routes, ID, GRANT, is_touched=True, **framing)
    return exchange


def refused(outcome: CallOutcome, folder: Path, *, is_touched: bool) -> bytes:
    """What a client is sent whose call ends before its response has begun."""
    host = FakeHost()
    client = HTTP1(host)
    client.receive(b"GET /pages/a HTTP/1.1\r\nHost: a\r\n\r\n")
    (exchange,) = host.exchanges
    routes = build(config_of(UpstreamOrigin("http", "tool", 80), folder), {"tools": ANY_POOL})
    send_termination(outcome, exchange, routes, ID, GRANT, is_touched=is_touched)
    return client.bytes_to_send()


@pytest.mark.parametrize("is_touched", [False, True])
@pytest.mark.parametrize("outcome", CUT)
def test_a_call_without_a_response_is_refused(
    outcome: CallOutcome, is_touched: bool, tmp_path: Path
) -> None:
    """The problem names the reason and the branch."""
    sent = refused(outcome, tmp_path, is_touched=is_touched)
    assert CUT[outcome][0].encode() in sent
    assert f'"branch":"{GRANT.branch}"'.encode() in sent


@pytest.mark.parametrize("outcome", CUT)
def test_a_client_is_asked_to_repeat_no_call_that_the_tool_may_have_seen(
    outcome: CallOutcome, tmp_path: Path
) -> None:
    """No error code that clients answer with a newer token, and no time after which to retry."""
    waiting = refused(outcome, tmp_path, is_touched=False)
    invites = b'error="invalid_token"' in waiting or b"retry-after" in waiting.lower()
    assert invites is (outcome is not CallOutcome.EXHAUSTED)
    running = refused(outcome, tmp_path, is_touched=True)
    assert running.split(b" ")[1] == waiting.split(b" ")[1]
    assert b"error=" not in running
    assert b"retry-after" not in running.lower()
    assert b"the tool may have done its work" in running


@pytest.mark.parametrize("outcome", CUT)
def test_a_stream_of_events_ends_with_one(outcome: CallOutcome) -> None:
    """That holds the problem, with the branch."""
    last = told(outcome, between_events=True).last
    assert CUT[outcome][0].encode() in last
    assert f'"branch":"{GRANT.branch}"'.encode() in last


@pytest.mark.parametrize("outcome", CUT)
def test_a_call_of_grpc_ends_with_a_status(outcome: CallOutcome) -> None:
    """In its trailers, with the problem."""
    trailers = dict(told(outcome, is_grpc=True).trailers)
    assert trailers[b"grpc-status"] == CUT[outcome][1]
    details = base64.b64decode(trailers[b"grpc-status-details-bin"] + b"==")
    assert f"/problems/{CUT[outcome][0]}".encode() in details


@pytest.mark.parametrize("outcome", CallOutcome)
def test_an_answer_that_can_be_ended_in_no_such_way_is_torn_off(outcome: CallOutcome) -> None:
    """So that nobody takes it for whole; and all that is not a cut ends so."""
    whole = {} if outcome in CUT else {"between_events": True, "is_grpc": True}
    assert told(outcome, **whole).was_reset
