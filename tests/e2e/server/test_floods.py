"""Known floods and stalls against one connection: bounded work, bounded memory, others served.

Each is a published attack or its kin. What one connection may cost is asserted by what reached the
application, by what was read of it, and by the counter of the bound that ended it.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from http2_floods import FLOODS, MADE_YOU_RESET, WAIT, rapid_reset
from http2_frames import ACKNOWLEDGED, GET, PREFACE, Frames, alike, head, heads, numbers, request
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from tls_listener import Edge, read_all, running_edge

from crewgate import limits
from crewgate.server.exchange import Exchange

KIB, MIB = 2**10, 2**20


class Application:
    """Counts what it is asked; `/wait` never answers, `/read` reads first."""

    def __init__(self) -> None:
        self.asked = 0
        self.waiting = 0

    def __call__(self, exchange: Exchange):  # noqa: ANN204
        self.asked += 1
        if exchange.request.path == b"/wait":
            return self._wait()
        if exchange.request.path == b"/read":
            return self._read(exchange)
        exchange.respond(200, [], b"fine")
        return None

    async def _wait(self) -> None:
        self.waiting += 1
        try:
            await trio.sleep_forever()
        finally:
            self.waiting -= 1

    async def _read(self, exchange: Exchange) -> None:
        while await exchange.read():
            pass
        exchange.respond(200, [], b"read")


async def test_costly_frames_of_a_read_wait_for_other_clients(tmp_path: Path) -> None:
    """They are in one read. A request of another client comes before the last of them."""
    paths: list[bytes] = []

    def application(exchange: Exchange) -> None:
        paths.append(exchange.request.path)
        if exchange.request.path == b"/costly":
            time.sleep(1.5 * limits.turn_frames_seconds_max)  # as if it took CPU time
        exchange.respond(200, [], b"fine")

    async with running_edge(application, tmp_path) as edge:
        streams = [await edge.connect("h2") for _ in range(2)]
        for stream, path, count in zip(streams, (b"/costly", b"/cheap"), (10, 1), strict=True):
            await stream.send_all(PREFACE + heads(numbers(count), request(path), "END_STREAM"))
        with trio.fail_after(20):
            while len(paths) < 11:
                await trio.lowlevel.checkpoint()
        for stream in streams:
            await stream.aclose()
    assert paths.count(b"/costly") == 10
    assert paths[-1] == b"/costly"


class Attack:
    """One hostile connection, and everything around it."""

    def __init__(self, edge: Edge, stream: trio.SSLStream, application: Application) -> None:
        self.edge = edge
        self.stream = stream
        self.application = application
        self.protocol: Any = None  # of the other end, also once that has closed

    @property
    def counters(self) -> dict[str, int]:
        """Those that are not zero."""
        return self.edge.refusals

    async def throw(self, wire: bytes) -> bytes:
        """Send all that is taken, read all that comes; what came, once the connection has ended."""
        got = b""

        async def read() -> None:
            nonlocal got
            got = await read_all(self.stream)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            with suppress(trio.BrokenResourceError):
                await self.stream.send_all(wire)
        return got

    async def press_until(self, wire: bytes, is_over: Callable[[], object]) -> None:
        """Send without ever reading, until that is over."""

        async def send() -> None:
            with suppress(trio.BrokenResourceError):
                await self.stream.send_all(wire)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while not is_over():
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    async def press(self, wire: bytes, seconds: float = 0.5) -> bool:
        """Send without ever reading; False if not all was taken in that time."""
        with trio.move_on_after(seconds) as patience, suppress(trio.BrokenResourceError):
            await self.stream.send_all(wire)
        return not patience.cancelled_caught

    async def deafen(self) -> None:
        """Let the kernel keep little of what is not read."""
        sock = self.stream.transport_stream.socket
        sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
        port = sock.getsockname()[1]
        (other_end,) = [one for one in self.edge.listener.connections if one.peer.port == port]
        other_end.sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 4096)
        while other_end.protocol is None:  # its handshake ends after the client's
            await trio.lowlevel.checkpoint()
        self.protocol = other_end.protocol


@asynccontextmanager
async def attack(
    folder: Path, caplog: pytest.LogCaptureFixture, protocol: str = "h2"
) -> AsyncIterator[Attack]:
    """Open a hostile connection beside a client that is served before, while it is there and after.

    No work for the hostile one may be left, and no error of ours be logged.
    """
    application = Application()
    async with (
        running_edge(application, folder) as edge,
        edge.client(http2=True) as client,
    ):
        assert (await client.get("/")).text == "fine"
        stream = await edge.connect(protocol)
        yield Attack(edge, stream, application)
        assert (await client.get("/")).text == "fine"
        await trio.aclose_forcefully(stream)
        assert (await client.get("/")).text == "fine"
        async with edge.client() as other:
            assert (await other.get("/")).text == "fine"
        while application.waiting:
            await trio.lowlevel.checkpoint()
    assert not caplog.records


@pytest.mark.parametrize("name", MADE_YOU_RESET)
async def test_made_you_reset(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Streams that we must reset (CVE-2025-8671) end their connection before long.

    Whatever they made the application begin is bounded, and cancelled.
    """
    async with attack(tmp_path, caplog) as hostile:
        await hostile.throw(MADE_YOU_RESET[name]())
        assert hostile.application.asked <= 1 + limits.stream_errors_max + limits.streams_max
        ended = {"connections_flooding", "connections_in_violation"} & set(hostile.counters)
        assert [hostile.counters[kind] for kind in ended] == [1]


async def test_rapid_reset(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Requests that are reset at once (CVE-2023-44487) come no further than a burst of them."""
    async with attack(tmp_path, caplog) as hostile:
        await hostile.throw(rapid_reset())
        assert hostile.application.asked <= 1 + limits.stream_resets_burst + 5 * limits.streams_max
        assert hostile.counters == {"connections_flooding": 1}


@pytest.mark.parametrize("name", FLOODS)
async def test_flood(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It ends its own connection, and its bound has counted it."""
    wire, counter = FLOODS[name]
    async with attack(tmp_path, caplog) as hostile:
        await hostile.throw(wire())
        assert hostile.counters == {counter: 1}
        assert hostile.application.asked <= 2


BORNE = {
    "pings that are read": lambda: PingFrame(0, opaque_data=b"12345678").serialize() * 20_000,
    "settings that are read": lambda: SettingsFrame(0).serialize() * 100,
    "window updates": lambda: WindowUpdateFrame(0, window_increment=1).serialize() * 50_000,
    "resets of closed streams": lambda: (
        head(1, GET, "END_STREAM") + RstStreamFrame(1, error_code=8).serialize() * 500
    ),
}


@pytest.mark.parametrize("name", BORNE)
@pytest.mark.parametrize("is_slow", [False, True])
async def test_frames_that_cost_their_sender_as_much(
    name: str,
    is_slow: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is answered byte for byte, or with nothing, is borne as long as the client reads.

    So it is on a machine that is so slow that each call of a socket takes long.
    """
    if is_slow:
        monkeypatch.setattr(limits, "turn_socket_seconds_max", 0.0)
        monkeypatch.setattr(limits, "turn_bulk_look_seconds", 0.0)
    async with attack(tmp_path, caplog) as hostile, trio.open_nursery() as nursery:
        last = head(9, GET, "END_STREAM")
        nursery.start_soon(hostile.stream.send_all, PREFACE + BORNE[name]() + last)
        assert (await Frames(hostile.stream).until(DataFrame, 9)).data == b"fine"
        assert not hostile.counters


UNREAD = {
    "pings (CVE-2019-9512)": (
        lambda: PingFrame(0, opaque_data=b"12345678").serialize() * 500_000,
        {"connections_flooding"},
    ),
    "settings (CVE-2019-9515)": (
        lambda: SettingsFrame(0, settings={4: 100}).serialize() * 500_000,
        {"connections_flooding"},
    ),
    "streams beyond the number": (
        lambda: alike(600_000, WAIT, "END_STREAM"),
        {"connections_choked"},
    ),
    "malformed streams": (
        lambda: alike(600_000, [*WAIT, (b"te", b"x")], "END_STREAM"),
        {"connections_choked"},
    ),
}


@pytest.mark.parametrize("name", UNREAD)
async def test_flood_of_a_client_that_reads_nothing(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its frames make frames of ours: it is ended, or not read on, long before they fill memory."""
    wire, counters = UNREAD[name]
    async with attack(tmp_path, caplog) as hostile:
        await hostile.deafen()
        await hostile.press_until(PREFACE + wire(), lambda: counters & set(hostile.counters))
        read = hostile.protocol.usage.octets
        assert read < MIB
        await hostile.press(wire(), seconds=0.1)
        assert hostile.protocol.usage.octets == read


async def test_pipeline_of_a_client_that_reads_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests that are answered at once are not read on while their answers are unread."""
    async with attack(tmp_path, caplog, "http/1.1") as hostile:
        await hostile.deafen()
        get = b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"x" * 100)
        assert not await hostile.press(get * 500_000, seconds=1.5)
        asked = hostile.application.asked
        assert len(hostile.protocol.out) < 2 * limits.buffer_bytes_max
        await hostile.press(get * 1000, seconds=0.1)
        assert hostile.application.asked == asked
        assert not hostile.counters


CHUNKED = b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
H1_FLOODS = {
    "one endless chunk extension": (b"1;" + b"e" * MIB, b"400"),
    "extensions on every chunk": ((b"1;" + b"e" * 500 + b"\r\nx\r\n") * 20_000, b"400"),
    "endless size of a chunk": (b"0" * MIB, b"400"),
    "endless trailers": (b"0\r\n" + b"a: b\r\n" * 100_000, b"431"),
    "endless trailer": (b"0\r\na: " + b"b" * MIB, b"400"),
}


@pytest.mark.parametrize("name", H1_FLOODS)
async def test_flood_beside_a_body(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What frames a body is bounded as a head is; the request is broken off."""
    flood, status = H1_FLOODS[name]
    async with attack(tmp_path, caplog, "http/1.1") as hostile:
        answer = await hostile.throw(CHUNKED + flood)
        assert answer.startswith(b"HTTP/1.1 %b " % status)
        assert sum(hostile.counters.values()) == 1


async def test_a_million_tiny_chunks_are_a_body(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Chunks of one byte cost their sender more than us."""
    async with attack(tmp_path, caplog, "http/1.1") as hostile:
        wire = b"1\r\nx\r\n" * 200_000 + b"0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n"
        answer = await hostile.throw(CHUNKED + wire + b"Connection: close\r\n\r\n")
        assert answer.count(b"HTTP/1.1 200 ") == 2
        assert not hostile.counters


async def test_streams_that_stall_are_nobody_else_s_stall(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow heads, bodies and readers, forty connections of each, beside quick requests."""
    for name in ("head_seconds_max", "body_wait_seconds_max", "send_wait_seconds_max"):
        monkeypatch.setattr(limits, name, 600.0)  # all stay, however busy the machine is
    async with attack(tmp_path, caplog) as hostile:
        edge = hostile.edge
        slow = [await edge.connect("http/1.1") for _ in range(40)]
        stalled = [await edge.connect("h2") for _ in range(80)]
        bodies = heads(numbers(limits.streams_max), request(b"/read", b"POST"))
        shut = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}).serialize()
        for stream in stalled[::2]:
            await stream.send_all(ACKNOWLEDGED + bodies)
        for stream in stalled[1::2]:
            await stream.send_all(PREFACE + shut + heads(numbers(100), GET, "END_STREAM"))

        async def dribble() -> None:
            for stream in slow:
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
            while True:
                for stream in slow:
                    await stream.send_all(b"x")
                await trio.sleep(0.01)

        async with (
            trio.open_nursery() as nursery,
            edge.client(http2=True, timeout=5) as client,
        ):
            nursery.start_soon(dribble)
            for _ in range(200):
                assert (await client.get("/")).text == "fine"
            nursery.cancel_scope.cancel()
        assert len(edge.listener.connections) >= len(slow) + len(stalled)
        for stream in slow + stalled:
            await trio.aclose_forcefully(stream)


async def test_goodbye_of_a_client_with_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A client's GOAWAY takes no further requests; what it asked for goes on until it closes."""
    async with attack(tmp_path, caplog) as hostile:
        wire = PREFACE + heads(numbers(5), WAIT, "END_STREAM") + GoAwayFrame(0).serialize()
        await hostile.stream.send_all(wire + heads(numbers(5, first=11), WAIT, "END_STREAM"))
        while hostile.application.waiting < 5:
            await trio.lowlevel.checkpoint()
