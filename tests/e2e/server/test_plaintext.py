"""A listener without TLS: what it serves, and that the bounds of a listener hold for it as well."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from tls_listener import read_all, read_until

from crewgate import limits
from crewgate._datapath import client_socket
from crewgate._datapath.socket_poller import SocketPoller
from crewgate.runtime.listening import listen
from crewgate.server.exchange import Exchange
from crewgate.server.listener import Listener
from crewgate.server.plaintext import PlaintextContext

MIB = 2**20
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
FINE = b"\r\n\r\nfine"
SENT_BYTES = 8 * MIB


def application(exchange: Exchange):  # noqa: ANN201
    """Answer inline; /read reads the body first, /big sends megabytes, /held never ends."""

    async def read() -> None:
        count = 0
        while data := await exchange.read():
            count += len(data)
        exchange.respond(200, [], str(count).encode())

    async def send() -> None:
        exchange.start(200, [])
        for _ in range(SENT_BYTES // MIB):
            await exchange.send(bytes(MIB))
        exchange.finish()

    async def hold() -> None:
        exchange.start(200, [])
        await exchange.send(b"begun")
        await trio.sleep_forever()

    served = {b"/read": read, b"/big": send, b"/held": hold}
    if exchange.request.path in served:
        return served[exchange.request.path]()
    exchange.respond(200, [], b"fine")
    return None


@pytest.fixture(autouse=True, params=["object below", "public methods"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets are read in one of two ways, as the Python of the machine allows."""
    is_below = client_socket.READS_OPENSSL and request.param == "object below"
    monkeypatch.setattr(client_socket, "READS_OPENSSL", is_below)


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    poller = SocketPoller()
    listener = Listener(listen("127.0.0.1", 0), PlaintextContext(), application, poller)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        await nursery.start(listener.run)
        yield listener
        nursery.cancel_scope.cancel()
    poller.close()


async def connect(listener: Listener) -> trio.SocketStream:
    return await trio.open_tcp_stream(*listener.address)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_bounds(**bounds: float) -> None:
        for name, value in {"sweep_seconds": 0.05, **bounds}.items():
            assert hasattr(limits, name)
            monkeypatch.setattr(limits, name, value)

    return set_bounds


async def test_requests_of_one_connection_are_answered_in_turn() -> None:
    """Also if they come in one segment, or in single bytes."""
    async with listening() as listener, await connect(listener) as stream:
        await stream.send_all(GET + GET)
        assert (await read_until(stream, FINE)).count(b"HTTP/1.1 200 OK") >= 1
        for byte in GET:
            await stream.send_all(bytes((byte,)))
        await read_until(stream, FINE)


async def test_a_large_body_and_a_large_answer_pass_whole() -> None:
    """The socket is full again and again in both directions."""
    async with listening() as listener, await connect(listener) as stream:
        body = bytes(2 * MIB)
        await stream.send_all(
            b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        await stream.send_all(body)
        await read_until(stream, str(len(body)).encode())
        await stream.send_all(b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert len(await read_all(stream)) > SENT_BYTES


async def test_a_client_that_sends_nothing_is_closed(short: Callable[..., None]) -> None:
    """As one that does not shake hands over TLS."""
    short(handshake_seconds_max=0.1)
    async with listening() as listener, await connect(listener) as stream:
        assert await read_all(stream) == b""
        assert listener.counters.handshakes_slow == 1


async def test_a_slow_head_is_answered_and_closed(short: Callable[..., None]) -> None:
    short(head_seconds_max=0.1)
    async with listening() as listener, await connect(listener) as stream:
        await stream.send_all(GET[:9])
        assert (await read_all(stream)).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"x" * 40_000, b"431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * 4000, b"431"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"501"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"501"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
    ],
    ids=["long field", "many fields", "TLS", "no host", "tunnel", "HTTP/2"],
)
async def test_hostile_bytes_end_their_own_connection(sent: bytes, status: bytes) -> None:
    async with listening() as listener, await connect(listener) as bystander:
        await bystander.send_all(GET)
        await read_until(bystander, FINE)
        async with await connect(listener) as stream:
            await stream.send_all(sent)
            assert (await read_all(stream))[9:12] == status
        await bystander.send_all(GET)
        await read_until(bystander, FINE)


async def test_a_reset_cancels_what_the_client_has_asked_for() -> None:
    """No exchange outlives its connection."""
    async with listening() as listener:
        stream = await connect(listener)
        await stream.send_all(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
        await read_until(stream, b"begun")
        linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await stream.aclose()
        while listener.connections:
            await trio.lowlevel.checkpoint()
        assert len(listener.census) == 0


async def test_an_unread_answer_is_cut(short: Callable[..., None]) -> None:
    short(send_wait_seconds_max=0.2)
    async with listening() as listener, await connect(listener) as stream:
        await stream.send_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        while listener.connections:
            await trio.lowlevel.checkpoint()
        assert listener.counters.counts


async def test_a_drain_lets_answers_end() -> None:
    async with listening() as listener, await connect(listener) as stream:
        await stream.send_all(GET)
        await read_until(stream, FINE)
        await listener.drain(5.0)
        assert await read_all(stream) == b""
