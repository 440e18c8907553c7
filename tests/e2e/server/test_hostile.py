"""What one hostile connection may do: end itself. The listener and its other clients go on.

The HTTP/2 probes are the five inputs that ended a whole server of another make, and their kin.
"""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trio
from edge import Edge, read_all, read_until, running_edge
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from crewgate import limits
from crewgate.server import Exchange

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()
GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"a")]


def application(exchange: Exchange):  # noqa: ANN201
    """Answer inline, or read the body first."""

    async def work() -> None:
        while await exchange.read():
            pass
        exchange.respond(200, [], b"read")

    if exchange.request.path == b"/read":
        return work()
    exchange.respond(200, [], b"fine")
    return None


def _head(stream: int, fields: list[tuple[bytes, bytes]], *flags: str) -> bytes:
    frame = HeadersFrame(stream, Encoder().encode(fields), flags=["END_HEADERS", *flags])
    return frame.serialize()


def _replaced(name: bytes, value: bytes | None) -> list[tuple[bytes, bytes]]:
    return [(n, value if n == name else v) for n, v in GET if n != name or value is not None]


def _data_after_answer() -> bytes:
    return _head(1, _replaced(b":method", b"POST")) + DataFrame(1, bytes(1000)).serialize() * 30


def _connect_without_path() -> bytes:
    return _head(1, [(b":method", b"CONNECT"), (b":authority", b"a")])


def _connect_with_path() -> bytes:
    return _head(1, _replaced(b":method", b"CONNECT"), "END_STREAM")


def _priorities() -> bytes:
    frames = [PriorityFrame(2 * i + 1, depends_on=0, stream_weight=1) for i in range(2000)]
    return b"".join([frame.serialize() for frame in frames])


def _foreign_path() -> bytes:
    return _head(1, _replaced(b":path", b"/\xc3\xa4"), "END_STREAM")


def _foreign_method() -> bytes:
    return _head(1, _replaced(b":method", b"G\xc3T"), "END_STREAM")


def _host_that_differs() -> bytes:
    return _head(1, [*GET, (b"host", b"b")], "END_STREAM")


def _no_authority() -> bytes:
    return _head(1, _replaced(b":authority", None), "END_STREAM")


def _two_paths() -> bytes:
    return _head(1, [*GET, (b":path", b"/b")], "END_STREAM")


def _resets() -> bytes:
    """Rapid reset, CVE-2023-44487."""
    encoder = Encoder()
    frames = bytearray()
    for stream in range(1, 20_001, 2):
        frame = HeadersFrame(stream, encoder.encode(GET), flags=["END_HEADERS", "END_STREAM"])
        frames += frame.serialize() + RstStreamFrame(stream, error_code=8).serialize()
    return bytes(frames)


def _continuations() -> bytes:
    """Continuation flood, CVE-2024-28182."""
    block = Encoder().encode(GET)
    rest = ContinuationFrame(1, b"\x40\x01a\x01b").serialize()
    return HeadersFrame(1, block).serialize() + rest * 5000


def _pings() -> bytes:
    return PingFrame(0, opaque_data=b"12345678").serialize() * 20_000


def _settings() -> bytes:
    return SettingsFrame(0).serialize() * 20_000


def _overflowing_window() -> bytes:
    return WindowUpdateFrame(0, window_increment=2**31 - 1).serialize() * 3


def _data_without_stream() -> bytes:
    return DataFrame(1, b"x").serialize()


def _even_stream() -> bytes:
    return _head(2, GET, "END_STREAM")


def _compression_bomb() -> bytes:
    block = Encoder().encode([*GET, (b"x", b"y" * 4000)])
    encoder = Encoder()
    encoder.encode([(b"x", b"y" * 3900)])
    field = encoder.encode([(b"x", b"y" * 3900)])
    frame = HeadersFrame(1, block + field * 2000, flags=["END_HEADERS", "END_STREAM"])
    return frame.serialize()


def _too_many_fields() -> bytes:
    return _head(1, [*GET, *[(b"a%d" % i, b"b") for i in range(500)]], "END_STREAM")


def _noise() -> bytes:
    return bytes(range(256)) * 64


def _wrong_length() -> bytes:
    fields = [*_replaced(b":method", b"POST"), (b"content-length", b"5")]
    frame = DataFrame(1, b"toolong", flags=["END_STREAM"])
    return _head(1, fields) + frame.serialize()


def _huge_length() -> bytes:
    length = b"%d" % (limits.tool_body_bytes_max + 1)
    return _head(1, [*_replaced(b":method", b"POST"), (b"content-length", length)])


H2_PROBES = [
    _data_after_answer,
    _connect_without_path,
    _connect_with_path,
    _priorities,
    _foreign_path,
    _foreign_method,
    _host_that_differs,
    _no_authority,
    _two_paths,
    _resets,
    _continuations,
    _pings,
    _settings,
    _overflowing_window,
    _data_without_stream,
    _even_stream,
    _compression_bomb,
    _too_many_fields,
    _noise,
    _wrong_length,
    _huge_length,
]


async def assert_alive(edge: Edge, bystander: httpx.AsyncClient) -> None:
    """A client from before and a new one are both served."""
    assert (await bystander.get("/")).text == "fine"
    async with httpx.AsyncClient(base_url=edge.url, verify=edge.client_context()) as client:
        assert (await client.get("/")).text == "fine"


@pytest.mark.parametrize("probe", H2_PROBES, ids=lambda probe: probe.__name__[1:])
async def test_http2_probe(
    probe: Callable[[], bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection may end; others do not notice, and no error of ours is logged."""
    async with (
        running_edge(application, tmp_path) as edge,
        httpx.AsyncClient(base_url=edge.url, verify=edge.client_context(), http2=True) as bystander,
    ):
        assert (await bystander.get("/")).text == "fine"
        stream = await edge.connect("h2")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_all, stream)
            try:
                await stream.send_all(PREFACE + probe())
                await stream.send_all(GoAwayFrame(0).serialize())
            except trio.BrokenResourceError:
                pass
            await assert_alive(edge, bystander)
            nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(stream)
        await assert_alive(edge, bystander)
    assert not caplog.records


@pytest.mark.parametrize(
    "probe",
    [_foreign_path, _foreign_method, _host_that_differs, _no_authority, _two_paths],
    ids=lambda probe: probe.__name__[1:],
)
async def test_malformed_http2_request_is_not_answered_200(
    probe: Callable[[], bytes], tmp_path: Path
) -> None:
    """A malformed request never reaches the application."""
    seen = []

    def remember(exchange: Exchange) -> None:
        seen.append(exchange.request)
        exchange.respond(200, [])

    async with running_edge(remember, tmp_path) as edge:
        stream = await edge.connect("h2")
        ping = PingFrame(0, opaque_data=b"after it")
        await stream.send_all(PREFACE + probe() + ping.serialize())
        await read_until(stream, b"after it")
        await trio.aclose_forcefully(stream)
    assert not seen


HOST = b"Host: a\r\n"
H1_PROBES = {
    "length and coding": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
    ),
    "two lengths": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n",
        400,
    ),
    "coding that is not chunked": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "chunked twice": (
        b"POST / HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "bad chunk": (
        b"POST /read HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        400,
    ),
    "foreign path": (b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "foreign method": (b"G\xc3T / HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "connect": (b"CONNECT a:443 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "h2c upgrade": (
        b"GET / HTTP/1.1\r\n"
        + HOST
        + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
        501,
    ),
    "h2 preface": (PREFACE, 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "host with path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "absolute target of another host": (b"GET https://b/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "version": (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 400),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "space before colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "folded field": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n", 400),
    "noise": (bytes(range(256)), 501),
    "long head": (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 70_000 + b"\r\n\r\n", 431),
    "endless target": (b"GET /" + b"a" * 70_000, 431),
    "many fields": (
        b"GET / HTTP/1.1\r\n" + HOST + b"".join([b"A%d: b\r\n" % i for i in range(300)]) + b"\r\n",
        431,
    ),
    "huge length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999\r\n\r\n", 413),
}


@pytest.mark.parametrize("name", H1_PROBES)
async def test_http1_probe(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is refused with its status, never served, and the connection closed; others go on."""
    probe, status = H1_PROBES[name]
    async with (
        running_edge(application, tmp_path) as edge,
        httpx.AsyncClient(base_url=edge.url, verify=edge.client_context()) as bystander,
    ):
        assert (await bystander.get("/")).text == "fine"
        stream = await edge.connect("http/1.1")
        await stream.send_all(probe)
        answer = await read_all(stream)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.count(b"HTTP/1.1") == 1
        assert b"connection: close" in answer
        await trio.aclose_forcefully(stream)
        await assert_alive(edge, bystander)
    assert not caplog.records


async def test_no_tls_no_service(tmp_path: Path) -> None:
    """Plain text, noise and silence instead of a handshake get nothing, and cost nobody."""
    async with running_edge(application, tmp_path) as edge:
        silent = await trio.open_tcp_stream(edge.host, edge.port)
        for noise_ in (b"GET / HTTP/1.1\r\n\r\n", bytes(300)):
            stream = await trio.open_tcp_stream(edge.host, edge.port)
            await stream.send_all(noise_)
            assert b"HTTP" not in await read_all(stream)
            await stream.aclose()
        async with httpx.AsyncClient(base_url=edge.url, verify=edge.client_context()) as client:
            assert (await client.get("/")).text == "fine"
        await silent.aclose()


async def test_tls_1_3_without_tickets(tmp_path: Path) -> None:
    """TLS 1.2 is refused; a connection gets no ticket that a later one could resume with."""
    import ssl  # noqa: PLC0415 - beside its use

    async with running_edge(application, tmp_path) as edge:
        context = edge.client_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(httpx.ConnectError):
            async with httpx.AsyncClient(verify=context) as client:
                await client.get(edge.url)
        stream = await edge.connect("http/1.1")
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await read_all(stream)
        session = stream.session
        assert session is None or not session.has_ticket
        await trio.aclose_forcefully(stream)


async def test_one_address_cannot_hold_every_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past its bound a connection is closed at once; when another has ended there is room again."""
    monkeypatch.setattr(limits, "connections_per_address_max", 2)
    async with running_edge(application, tmp_path) as edge:
        held = [await trio.open_tcp_stream(edge.host, edge.port) for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked(0.05)
        async with await trio.open_tcp_stream(edge.host, edge.port) as refused:
            assert await read_all(refused) == b""
        assert edge.listener.census.counters.connections_refused_address == 1
        for stream in held:
            await stream.aclose()
        while len(edge.listener.census):
            await trio.testing.wait_all_tasks_blocked(0.01)
        async with httpx.AsyncClient(verify=edge.client_context()) as client:
            assert (await client.get(edge.url)).status_code == 200
