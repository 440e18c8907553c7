"""A connection of CMD, carried: which HTTP, both directions, and how each side's end is taken."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_one_way_pair

from crewgate import limits
from crewgate.errors import SidecarError
from crewgate.sidecar.h2_scheme_rewrite import PREFACE
from crewgate.sidecar.tunnel import carry


class Gateway:
    """What the tunnel dials: two memory streams, and how it was dialled and closed."""

    def __init__(self) -> None:
        self._from_tunnel: MemorySendStream
        self.heard: MemoryReceiveStream
        self._from_tunnel, self.heard = memory_stream_one_way_pair()
        self.says, self._to_tunnel = memory_stream_one_way_pair()
        self.protocols: list[str] = []
        self.closed = trio.Event()
        self.failure: SidecarError | None = None
        self.full: trio.Event | None = None

    async def dial(self, protocol: str) -> "Gateway":
        self.protocols.append(protocol)
        return self

    async def receive_some(self) -> bytes:
        data = bytes(await self._to_tunnel.receive_some(limits.receive_bytes))
        if not data and self.failure is not None:
            raise self.failure
        return data

    async def send_all(self, data: bytes) -> None:
        if self.full is not None:
            await self.full.wait()
        await self._from_tunnel.send_all(data)

    async def aclose(self) -> None:
        self.closed.set()

    async def hear(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += bytes(await self.heard.receive_some(size - len(data)))
        return data


@asynccontextmanager
async def carried(gateway: Gateway) -> AsyncIterator[tuple[trio.SocketStream, list[str]]]:
    """CMD's end of a connection that is being carried; afterwards, what went wrong."""
    ours, theirs = trio.socket.socketpair(socket.AF_UNIX)
    failures: list[str] = []

    async def run() -> None:
        async with trio.SocketStream(theirs) as stream:
            try:
                await carry(stream, gateway.dial)  # type: ignore[arg-type]
            except SidecarError as error:
                failures.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        async with trio.SocketStream(ours) as stream:
            yield stream, failures


async def _all(stream: trio.SocketStream) -> bytes:
    data = b""
    while more := await stream.receive_some(limits.receive_bytes):
        data += more
    return data


@pytest.mark.parametrize(
    ("first", "protocol"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "http/1.1"),
        (b"PRI * HTTP/1.1\r\n\r\n", "http/1.1"),
        (b"P", "http/1.1"),
        (PREFACE, "h2"),
        (PREFACE + b"more", "h2"),
    ],
)
async def test_the_first_bytes_tell_which_http(first: bytes, protocol: str) -> None:
    """However slowly they come, and none of them is lost."""
    gateway = Gateway()
    async with carried(gateway) as (stream, _):
        for at in range(len(first)):
            await stream.send_all(first[at : at + 1])
        if len(first) == 1:
            await stream.send_eof()
        assert await gateway.hear(len(first)) == first
        assert gateway.protocols == [protocol]


async def test_whoever_says_nothing_is_not_carried() -> None:
    """A connection that is closed unused opens none to the gateway."""
    gateway = Gateway()
    async with carried(gateway) as (stream, failures):
        await stream.aclose()
    assert gateway.protocols == []
    assert failures == []


async def test_half_closed_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """CMD has said all and listens: the gateway is not told of an end, and its answer arrives."""
    gateway = Gateway()
    async with carried(gateway) as (stream, _):
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await stream.send_eof()
        await gateway.hear(18)
        await gateway.says.send_all(b"late answer")
        assert await stream.receive_some(100) == b"late answer"
        assert not gateway.closed.is_set()
        await gateway.says.aclose()
        assert await _all(stream) == b""
    await gateway.closed.wait()


async def test_cmd_that_is_gone_ends_the_call() -> None:
    """Also after it has half-closed, and while nothing comes from the gateway."""
    for half_first in (False, True):
        gateway = Gateway()
        async with carried(gateway) as (stream, failures):
            await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            await gateway.hear(18)
            if half_first:
                await stream.send_eof()
            await stream.aclose()
            await gateway.closed.wait()
        assert failures == []


async def test_cmd_that_is_gone_is_seen_although_the_gateway_takes_nothing() -> None:
    """Nobody reads from CMD then; the kernel says that it hung up."""
    gateway = Gateway()
    gateway.full = trio.Event()
    async with carried(gateway) as (stream, _):
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await stream.aclose()
        await gateway.closed.wait()


async def test_what_one_side_does_not_take_the_other_is_not_asked_for() -> None:
    """CMD stops being read while the gateway takes nothing; then all of it arrives."""
    gateway = Gateway()
    gateway.full = trio.Event()
    size, sent = 8 * 2**20, 0

    async def push(stream: trio.SocketStream) -> None:
        nonlocal sent
        while sent < size:
            await stream.send_all(b"x" * 2**16)
            sent += 2**16

    async with carried(gateway) as (stream, _), trio.open_nursery() as nursery:
        nursery.start_soon(push, stream)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert sent < 2**20
        gateway.full.set()
        assert await gateway.hear(size) == b"x" * size


async def test_the_gateways_end_is_cmds_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """CMD reads all, then an end; it is given a moment, and then the connection is closed."""
    monkeypatch.setattr(limits, "run_linger_seconds_max", 0.0)
    gateway = Gateway()
    async with carried(gateway) as (stream, failures):
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await gateway.says.send_all(b"all" * 1000)
        await gateway.says.aclose()
        assert await _all(stream) == b"all" * 1000
        await gateway.closed.wait()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x" * 2**20)
    assert failures == []


@pytest.mark.parametrize("has_answered", [False, True])
async def test_a_refusal_is_told_once_and_a_cut_is_not(has_answered: bool) -> None:
    """An alert before any answer says why nobody is served; later it is the gateway's affair."""
    gateway = Gateway()
    gateway.failure = SidecarError("TLS with the gateway: certificate revoked")
    async with carried(gateway) as (stream, failures):
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await gateway.hear(18)
        if has_answered:
            await gateway.says.send_all(b"some")
            assert await stream.receive_some(100) == b"some"
        await gateway.says.aclose()
        assert await _all(stream) == b""
        await gateway.closed.wait()
    assert failures == ([] if has_answered else ["TLS with the gateway: certificate revoked"])


async def test_a_gateway_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """CMD's connection is closed, and why is told."""
    gateway = Gateway()

    async def refuse(protocol: str) -> Gateway:
        raise SidecarError("no gateway at 127.0.0.1 port 1")

    gateway.dial = refuse  # type: ignore[method-assign]
    async with carried(gateway) as (stream, failures):
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with suppress(trio.BrokenResourceError):
            assert await _all(stream) == b""
    assert failures == ["no gateway at 127.0.0.1 port 1"]


async def test_a_silent_client_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who connects and says nothing holds a place for so long only."""
    monkeypatch.setattr(limits, "idle_seconds_max", 0.0)
    gateway = Gateway()
    async with carried(gateway) as (stream, _):
        assert await _all(stream) == b""
    assert gateway.protocols == []


async def test_an_end_without_an_answer_is_told() -> None:
    """A gateway refuses a peer after the handshake without a word (OCSP): its audit knows why."""
    gateway = Gateway()
    async with carried(gateway) as (stream, failures):
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await gateway.hear(18)
        await gateway.says.aclose()
        assert await _all(stream) == b""
    assert len(failures) == 1
    assert "crewgate audit" in failures[0]
