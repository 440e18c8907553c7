"""Handshakes that come all at once: each is served, and the loop's other tasks have their turns."""

import ssl
from pathlib import Path
from typing import Any

import pytest
import trio
from tls_listener import running_edge

from crewgate import limits
from crewgate.server.connection_limit import ConnectionLimiter
from crewgate.server.exchange import Exchange
from crewgate.server.handshake_diagnosis import CertificateCapturingSocket

CLIENTS = 12


def _answer(exchange: Exchange) -> None:
    exchange.respond(200, ())


async def test_a_flood_of_handshakes_takes_turns_with_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of hellos that are all there, few are worked on before other tasks are looked at again."""
    monkeypatch.setattr(limits, "turn_bulk_events_max", 2)
    monkeypatch.setattr(limits, "turns_seconds_max", 0.0)
    order: list[str] = []

    class Noted(CertificateCapturingSocket):
        def do_handshake(self, block: bool = False) -> None:
            order.append("handshake")
            super().do_handshake(block)

    async def tick() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            order.append("task")

    async with running_edge(_answer, tmp_path) as edge, trio.open_nursery() as nursery:
        edge.listener.context.sslsocket_class = Noted
        context = edge.client_context()
        plain = [await trio.open_tcp_stream(edge.host, edge.port) for _ in range(CLIENTS)]
        with trio.fail_after(20):
            while len(edge.listener.connections) < CLIENTS:
                await trio.lowlevel.checkpoint()
            for _ in range(10):
                await trio.lowlevel.checkpoint()
        order.clear()
        hellos = [_hello(context) for _ in plain]
        for stream, hello in zip(plain, hellos, strict=True):
            stream.socket._sock.send(hello)
        nursery.start_soon(tick)
        with trio.fail_after(20):
            while order.count("handshake") < CLIENTS:
                await trio.lowlevel.checkpoint()
        longest = _longest_run(order)
        for stream in plain:
            await trio.aclose_forcefully(stream)
        nursery.cancel_scope.cancel()
    assert (
        longest <= 2 * limits.turn_bulk_events_max
    )  # a task may be first in one pass, last in one


def _hello(context: ssl.SSLContext) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    return outgoing.read()


def _longest_run(order: list[Any]) -> int:
    """How many handshakes stand in a row."""
    return max(map(len, " ".join(order).replace("handshake", "h").replace(" ", "").split("task")))


async def test_whoever_is_silent_makes_room(tmp_path: Path) -> None:
    """Half of the places are for those who shake hands: of more, the oldest is closed."""
    async with running_edge(_answer, tmp_path) as edge:
        edge.listener.census = ConnectionLimiter(8, 8, edge.listener.counters)
        silent = [await trio.open_tcp_stream(edge.host, edge.port) for _ in range(6)]
        with trio.fail_after(20):
            for stream in silent[:2]:
                assert await _is_closed(stream)
            for _ in range(4):
                async with await edge.connect("h2") as stream:
                    assert stream.selected_alpn_protocol() == "h2"
        assert edge.listener.counters.handshakes_displaced >= 2
        assert edge.listener.counters.connections_refused_full == 0
        for stream in silent:
            await trio.aclose_forcefully(stream)


async def _is_closed(stream: trio.SocketStream) -> bool:
    try:
        return await stream.receive_some(1) == b""
    except trio.BrokenResourceError:
        return True
