"""Who shows bad tokens over real sockets: drained, or held, and everybody else as before."""

import time
from pathlib import Path

import pytest
import trio
from gateway_world import answering, running_gateway
from http2_frames import GET, PREFACE, Frames, head, numbers, request
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame
from tls_listener import read_all, read_until, running_edge

from crewgate import limits
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial
from crewgate.gateway.bad_token_throttle import BadTokenThrottle
from crewgate.server.exchange import Exchange

BAD = request(b"/bad")


class Door:
    """An application that refuses /bad as a token that no key signed, and answers all else."""

    def __init__(self) -> None:
        self._strangers = BadTokenThrottle()

    def __call__(self, exchange: Exchange) -> None:
        if exchange.request.path == b"/bad":
            self._strangers.note(exchange, time.monotonic())
            exchange.respond(401, [], b"bad")
        else:
            exchange.respond(200, [], b"fine")


async def test_a_connection_of_bad_tokens_is_drained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that it asked is answered; another connection of its address goes on."""
    monkeypatch.setattr(limits, "bad_tokens_max", 10)
    monkeypatch.setattr(limits, "sweep_seconds", 0.05)
    async with running_edge(Door(), tmp_path) as edge:
        neighbour = await edge.connect("http/1.1")
        stream = await edge.connect("h2")
        wire = b"".join([head(n, BAD, "END_STREAM") for n in numbers(10)])
        await stream.send_all(PREFACE + wire)
        frames = await Frames(stream).rest()
        answered = [frame.stream_id for frame in frames if type(frame) is HeadersFrame]
        assert answered == list(numbers(10))
        assert any(type(frame) is GoAwayFrame for frame in frames)
        await trio.aclose_forcefully(stream)
        stream = await edge.connect("http/1.1")
        await stream.send_all(b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n" * 12)
        assert (await read_all(stream)).count(b"HTTP/1.1 401 ") == 10
        await trio.aclose_forcefully(stream)
        await neighbour.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await read_until(neighbour, b"fine")).endswith(b"fine")
        await trio.aclose_forcefully(neighbour)
        counters = edge.listener.counters
        assert (counters.bad_tokens, counters.bad_tokens_drained) == (20, 2)


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_an_address_of_bad_tokens_is_slowed(
    protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the burst, the connection that shows one is not read till the next sweep.

    Its answer comes at once; a neighbour's connection is read meanwhile.
    """
    monkeypatch.setattr(limits, "bad_tokens_burst", 1)
    monkeypatch.setattr(limits, "bad_tokens_per_second", 0.001)
    monkeypatch.setattr(limits, "sweep_seconds", 60)  # the test sweeps
    async with running_edge(Door(), tmp_path) as edge:
        neighbour = await edge.connect("h2")
        await neighbour.send_all(PREFACE)
        stream = await edge.connect(protocol)
        ask = (
            [head(n, BAD, "END_STREAM") for n in numbers(3)]
            if protocol == "h2"
            else [b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n"] * 3
        )
        await stream.send_all((PREFACE if protocol == "h2" else b"") + ask[0])
        await read_until(stream, b"bad")
        await stream.send_all(ask[1])
        await read_until(stream, b"bad")
        assert edge.listener.counters.bad_tokens_held == 1
        await stream.send_all(ask[2])
        for number in numbers(5):
            await neighbour.send_all(head(number, GET, "END_STREAM"))
            assert (await Frames(neighbour).until(DataFrame, number)).data == b"fine"
        assert edge.listener.counters.bad_tokens == 2
        for connection in edge.listener.connections:
            connection.sweep(edge.listener.now)
        await read_until(stream, b"bad")
        assert edge.listener.counters.bad_tokens == 3
        for one in (stream, neighbour):
            await trio.aclose_forcefully(one)


async def test_which_refusals_are_bad_tokens(tmp_path: Path) -> None:
    """Those that no key signed, whatever was wrong with them; not those of a known holder."""
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with running_gateway(answering(ok), tmp_path) as world, world.client() as client:
        counters = world.edge.listener.counters
        for token, path, status in (
            ("bad", "/search", 401),
            ("bad", "/nowhere", 401),
            ("bad", "/v1/embeddings", 401),
            ("good", "/search", 200),
            ("good", "/nowhere", 404),
        ):
            answer = await client.post(path, headers={"authorization": f"Bearer {token}"})
            assert answer.status_code == status
        assert counters.bad_tokens == 3
        grant = world.judge.grants[b"good"]
        for reason in (Reason.TOKEN_EXPIRED, Reason.BRANCH_REVOKED, Reason.CREDITS_EXHAUSTED):
            world.judge.denials = [Denial(reason, grant)]
            assert (await client.post("/search")).status_code in {401, 403}
        client.headers.pop("authorization")
        assert (await client.post("/search")).status_code == 401
        assert counters.bad_tokens == 3
