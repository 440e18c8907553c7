"""Every bound of a peer over a real socket: hit, counted, and nobody else notices."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from http2_frames import ACKNOWLEDGED, GET, POST, PREFACE, Frames, head, heads, numbers, request
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from tls_listener import Edge, read_all, read_until, running_edge

from crewgate import limits
from crewgate.server.exchange import Exchange

MIB = 2**20
H1_GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
H1_POST = b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"


def application(exchange: Exchange):  # noqa: ANN201
    """Answer inline; /read reads the body first, /big sends megabytes."""

    async def read() -> None:
        while await exchange.read():
            pass
        exchange.respond(200, [], b"read")

    async def send() -> None:
        exchange.start(200, [])
        for _ in range(64):
            await exchange.send(bytes(MIB))
        exchange.finish()

    if exchange.request.path == b"/read":
        return read()
    if exchange.request.path == b"/big":
        return send()
    exchange.respond(200, [], b"fine")
    return None


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set bounds for a test; the sweeper looks often, so that no test waits long."""

    def set_bounds(**bounds: float) -> None:
        for name, value in {"sweep_seconds": 0.05, **bounds}.items():
            assert hasattr(limits, name)
            monkeypatch.setattr(limits, name, value)

    return set_bounds


@asynccontextmanager
async def edge_with_bystander(folder: Path, *, http2: bool = True) -> AsyncIterator[Edge]:
    """A listener, with a client that is served before and after.

    httpx 0.28 takes a GOAWAY that it hears too late for a failure: where one is sent to idle
    clients the bystander speaks HTTP/1.1.
    """
    async with (
        running_edge(application, folder) as edge,
        edge.client(http2=http2) as client,
    ):
        assert (await client.get("/")).text == "fine"
        yield edge
        assert (await client.get("/")).text == "fine"


def counted(edge: Edge) -> dict[str, int]:
    """The counters that are not zero."""
    return edge.refusals


async def test_silent_handshake(tmp_path: Path, short: Callable[..., None]) -> None:
    """No TLS in its time: the connection is closed."""
    async with edge_with_bystander(tmp_path) as edge:
        short(handshake_seconds_max=0.1)  # the bystander has shaken hands, however slowly
        async with await trio.open_tcp_stream(edge.host, edge.port) as silent:
            assert await read_all(silent) == b""
        async with await trio.open_tcp_stream(edge.host, edge.port) as partial:
            await partial.send_all(b"\x16\x03\x01\x02\x00")
            assert await read_all(partial) == b""
        assert counted(edge) == {"handshakes_slow": 2}


async def test_noise_instead_of_a_handshake(tmp_path: Path) -> None:
    """What is no TLS is closed at once, and counted."""
    async with edge_with_bystander(tmp_path) as edge:
        async with await trio.open_tcp_stream(edge.host, edge.port) as noise:
            await noise.send_all(b"GET / HTTP/1.1\r\n\r\n")
            await read_all(noise)
        assert counted(edge) == {"handshakes_failed": 1}


async def test_connections_in_total(tmp_path: Path, short: Callable[..., None]) -> None:
    """One too many is closed at accept; when another has left there is room again."""
    short(connections_max=2)
    async with running_edge(application, tmp_path) as edge:
        first, second = [await edge.connect("http/1.1") for _ in range(2)]
        async with await trio.open_tcp_stream(edge.host, edge.port) as refused:
            assert await read_all(refused) == b""
        assert counted(edge) == {"connections_refused_full": 1}
        await first.send_all(H1_GET)
        assert (await read_until(first, b"fine")).startswith(b"HTTP/1.1 200 ")
        for stream in (first, second):
            await trio.aclose_forcefully(stream)
        while len(edge.listener.census):
            await trio.testing.wait_all_tasks_blocked(0.01)
        third = await edge.connect("http/1.1")
        await trio.aclose_forcefully(third)


async def test_slow_head_of_http1(tmp_path: Path, short: Callable[..., None]) -> None:
    """A head that dribbles is answered 408, however often a byte comes."""
    short(head_seconds_max=0.2)
    async with edge_with_bystander(tmp_path) as edge:
        stream = await edge.connect("http/1.1")

        async def dribble() -> None:
            for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1000:
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(dribble)
            assert (await read_all(stream)).startswith(b"HTTP/1.1 408 ")
            nursery.cancel_scope.cancel()
        assert counted(edge) == {"heads_slow": 1}
        await trio.aclose_forcefully(stream)


async def test_slow_body_of_http1(tmp_path: Path, short: Callable[..., None]) -> None:
    """A body that stops is answered 408."""
    short(body_wait_seconds_max=0.1)
    async with edge_with_bystander(tmp_path) as edge:
        stream = await edge.connect("http/1.1")
        await stream.send_all(H1_POST + b"1234")
        assert (await read_all(stream)).startswith(b"HTTP/1.1 408 ")
        assert counted(edge) == {"bodies_slow": 1}
        await trio.aclose_forcefully(stream)


async def test_slow_chunk_size_of_http1(tmp_path: Path, short: Callable[..., None]) -> None:
    """A chunk's size that never ends is a body that stops."""
    short(body_wait_seconds_max=0.1)
    async with edge_with_bystander(tmp_path) as edge:
        stream = await edge.connect("http/1.1")
        await stream.send_all(
            b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0"
        )
        assert (await read_all(stream)).startswith(b"HTTP/1.1 408 ")
        assert counted(edge) == {"bodies_slow": 1}
        await trio.aclose_forcefully(stream)


async def test_slow_bodies_on_every_stream(tmp_path: Path, short: Callable[..., None]) -> None:
    """All streams of a connection owe their bodies: each is reset in time, the connection stays."""
    short(body_wait_seconds_max=0.2)
    async with edge_with_bystander(tmp_path) as edge:
        stream = await edge.connect("h2")
        streams = numbers(limits.streams_max)
        await stream.send_all(PREFACE + heads(streams, request(b"/read", b"POST")))
        frames = Frames(stream)
        reset = [await frames.until(RstStreamFrame) for _ in streams]
        assert sorted(frame.stream_id for frame in reset) == list(streams)
        await stream.send_all(head(streams.stop, GET, "END_STREAM"))
        await frames.until(HeadersFrame, streams.stop)
        assert counted(edge) == {"bodies_slow": limits.streams_max}
        await trio.aclose_forcefully(stream)


async def test_windows_that_never_open(tmp_path: Path, short: Callable[..., None]) -> None:
    """Streams that let nothing be sent hold a bounded answer each, and are reset in time.

    The stall of a whole connection by zero windows (CVE-2019-9517) costs its own streams only.
    """
    short(send_wait_seconds_max=0.3)
    async with edge_with_bystander(tmp_path) as edge:
        stream = await edge.connect("h2")
        settings = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0})
        streams = numbers(limits.streams_max)
        wire = PREFACE + settings.serialize() + heads(streams, request(b"/big"), "END_STREAM")
        await stream.send_all(wire)
        frames = Frames(stream)
        reset = [await frames.until(RstStreamFrame) for _ in streams]
        assert sorted(frame.stream_id for frame in reset) == list(streams)
        assert counted(edge) == {"answers_unread": limits.streams_max}
        await trio.aclose_forcefully(stream)


async def test_one_slow_reader_beside_quick_ones(tmp_path: Path) -> None:
    """A stream whose window stays shut does not hold back the others of its connection."""
    async with running_edge(application, tmp_path) as edge:
        stream = await edge.connect("h2")
        opened = WindowUpdateFrame(0, window_increment=2**30).serialize()
        await stream.send_all(PREFACE + opened + head(1, request(b"/big"), "END_STREAM"))
        frames = Frames(stream)
        got = 0
        while got < 65_535:
            got += len((await frames.until(DataFrame, 1)).data)
        for number in numbers(50, first=3):
            await stream.send_all(head(number, GET, "END_STREAM"))
            await frames.until(DataFrame, number)
        await trio.aclose_forcefully(stream)


async def test_reader_of_http1_that_stops(tmp_path: Path, short: Callable[..., None]) -> None:
    """Who does not read its answer is closed in time; no more than a buffer of it is kept."""
    short(send_wait_seconds_max=0.3)
    async with edge_with_bystander(tmp_path) as edge:
        stream = await edge.connect("http/1.1")
        await stream.send_all(H1_GET.replace(b"/ ", b"/big "))
        while len(edge.listener.connections) > 1:
            await trio.testing.wait_all_tasks_blocked(0.02)
        unread = ("answers_unread", "connections_unread")
        assert {value for name, value in counted(edge).items() if name in unread} == {1}
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_idle_connection(protocol: str, tmp_path: Path, short: Callable[..., None]) -> None:
    """A connection without a request is closed in time; HTTP/2 says so first."""
    async with edge_with_bystander(tmp_path, http2=False) as edge:
        stream = await edge.connect(protocol)
        if protocol == "h2":
            await stream.send_all(PREFACE)
        else:
            await stream.send_all(H1_GET)
            await read_until(stream, b"fine")
        short(idle_seconds_max=0.2)
        if protocol == "h2":
            goodbye = [f for f in await Frames(stream).rest() if type(f) is GoAwayFrame]
            assert [(f.error_code, f.last_stream_id) for f in goodbye] == [(0, 2**31 - 1), (0, 0)]
        else:
            assert await read_all(stream) == b""
        assert counted(edge)["connections_idle"] >= 1
        await trio.aclose_forcefully(stream)


async def test_half_a_head_of_http2_is_no_request(
    tmp_path: Path, short: Callable[..., None]
) -> None:
    """A head whose continuation never comes leaves its connection idle."""
    async with edge_with_bystander(tmp_path, http2=False) as edge:
        stream = await edge.connect("h2")
        short(idle_seconds_max=0.2)
        await stream.send_all(PREFACE + HeadersFrame(1, b"\x82\x87").serialize())
        await Frames(stream).until(GoAwayFrame)
        await trio.aclose_forcefully(stream)


async def test_requests_of_http1_connection(tmp_path: Path, short: Callable[..., None]) -> None:
    """Past their number an answer says that it is the last; no request is lost."""
    short(connection_requests_max=20)
    async with running_edge(application, tmp_path) as edge:
        async with edge.client() as client:
            for _ in range(100):
                assert (await client.get("/")).text == "fine"
                await trio.sleep(0.002)
        assert counted(edge)["connections_spent"] >= 1


@pytest.mark.parametrize("bound", ["connection_requests_max", "connection_bytes_max"])
async def test_what_an_http2_connection_may_carry(
    bound: str, tmp_path: Path, short: Callable[..., None]
) -> None:
    """Past it a client gets a notice, then the last stream; all that it asked for is done."""
    short(**{bound: 20})
    async with running_edge(application, tmp_path) as edge:
        stream = await edge.connect("h2")
        await stream.send_all(PREFACE)
        frames, seen, asked = Frames(stream), [], 1

        async def ask() -> None:
            nonlocal asked
            while not any(type(frame) is GoAwayFrame for frame in seen):
                await stream.send_all(head(asked, GET, "END_STREAM"))
                asked += 2
                await trio.sleep(0.005)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            while frame := await frames.next():
                seen.append(frame)
        answered = [frame.stream_id for frame in seen if type(frame) is HeadersFrame]
        assert answered == list(range(1, asked, 2))
        goodbye = [frame for frame in seen if type(frame) is GoAwayFrame]
        assert [frame.error_code for frame in goodbye] == [0, 0]
        assert [frame.last_stream_id for frame in goodbye] == [2**31 - 1, asked - 2]
        assert counted(edge) == {"connections_spent": 1}
        await trio.aclose_forcefully(stream)


async def test_more_streams_than_may_be(tmp_path: Path) -> None:
    """Before our settings are acknowledged one too many is refused, afterwards it is an error."""
    async with edge_with_bystander(tmp_path) as edge:
        fields = request(b"/read", b"POST")
        stream = await edge.connect("h2")
        await stream.send_all(PREFACE + heads(numbers(limits.streams_max + 1), fields))
        refused = await Frames(stream).until(RstStreamFrame)
        assert (refused.stream_id, refused.error_code) == (2 * limits.streams_max + 1, 7)
        await trio.aclose_forcefully(stream)
        stream = await edge.connect("h2")
        await stream.send_all(ACKNOWLEDGED + heads(numbers(limits.streams_max + 1), fields))
        assert (await Frames(stream).until(GoAwayFrame)).error_code == 1
        assert counted(edge) == {"connections_in_violation": 1}
        await trio.aclose_forcefully(stream)


async def test_body_over_the_bound(tmp_path: Path, short: Callable[..., None]) -> None:
    """Declared or not, a body over the bound is answered 413."""
    short(request_body_bytes_max=1000, tool_body_bytes_max=1000)
    async with edge_with_bystander(tmp_path) as edge:
        for http2 in (False, True):
            async with edge.client(http2=http2) as client:

                async def pieces() -> AsyncIterator[bytes]:
                    for _ in range(4):
                        yield bytes(500)

                assert (await client.post("/read", content=bytes(1001))).status_code == 413
                assert (await client.post("/read", content=pieces())).status_code == 413
                assert (await client.post("/read", content=bytes(1000))).text == "read"
        assert counted(edge) == {"bodies_large": 4}


async def test_body_after_its_answer(tmp_path: Path, short: Callable[..., None]) -> None:
    """What follows an answer is read to a bound, so that the answer is heard, and no further."""
    short(discard_bytes_max=MIB)
    async with edge_with_bystander(tmp_path) as edge:
        stream = await edge.connect("http/1.1")
        wire = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (32 * MIB)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, wire + bytes(8 * MIB))
            assert (await read_all(stream)).endswith(b"fine")
            nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(stream)
        stream = await edge.connect("h2")
        await stream.send_all(PREFACE + head(1, POST))
        frames = Frames(stream)
        await frames.until(HeadersFrame, 1)
        sent = 0
        while sent <= MIB + 65_536:
            await stream.send_all(DataFrame(1, bytes(16_384)).serialize())
            sent += 16_384
            if sent % 32_768 == 0:
                await trio.testing.wait_all_tasks_blocked(0.001)
        assert (await frames.until(RstStreamFrame, 1)).error_code == 0
        assert counted(edge) == {"bodies_unwanted": 2}
        await trio.aclose_forcefully(stream)
