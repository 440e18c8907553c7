"""Opening a connection in turns of the poller: each way in which it can end."""

import errno
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import msgspec
import pytest
from authority import Authority

from crewgate import limits
from crewgate._datapath.connection_pool import PoolCallbacks
from crewgate._datapath.http1_connection import HTTP1Connection
from crewgate._datapath.socket_poller import SocketPoller
from crewgate.config import UpstreamConfig, UpstreamOrigin
from crewgate.config.upstream import UpstreamTLS
from crewgate.core.delivery import OURS
from crewgate.errors import UpstreamError, UpstreamTimeoutError
from crewgate.upstream.balancer import Host, SocketAddress
from crewgate.upstream.connector import Connector, Outcome, PendingConnection
from crewgate.upstream.tls import client_context

TURNS_MAX = 1000


class Pool(PoolCallbacks):
    """Its connections carry no call."""

    keep_seconds = 55.0

    def ended(self, connection: object) -> None:
        pass


class Opening:
    """One connection to `port` of this machine, and how it has ended."""

    def __init__(
        self, port: int, tls: UpstreamTLS | None = None, protocol: str = "http/1.1"
    ) -> None:
        origin = UpstreamOrigin("http" if tls is None else "https", "127.0.0.1", port)
        upstream = msgspec.structs.replace(
            UpstreamConfig("tools", (origin,)), tls=tls or UpstreamTLS(), protocol=protocol
        )
        self.poller = SocketPoller()
        self.pool = Pool()
        self.outcomes: list[Outcome] = []
        host = Host(origin, SocketAddress(socket.AF_INET, ("127.0.0.1", port)), None)
        connector = Connector(upstream, self.poller, client_context(upstream))
        self.pending = connector.begin(host, self.pool, self._take)
        assert not self.outcomes

    def _take(self, pending: PendingConnection, outcome: Outcome) -> None:
        assert pending is self.pending
        self.outcomes.append(outcome)

    def turn(self, until: Callable[[], object]) -> None:
        for _ in range(TURNS_MAX):
            self.poller.take_turn()
            if until():
                return
        pytest.fail("the turns do not end")

    @property
    def error(self) -> str:
        """The text of the error with which it has ended."""
        (outcome,) = self.outcomes
        assert isinstance(outcome, UpstreamError)
        return str(outcome)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def trust(tmp_path: os.PathLike[str]) -> Authority:
    return Authority(tmp_path)  # type: ignore[arg-type]


def _port(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


def _server_context(trust: Authority, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*trust.issue(*names))
    return context


class Server:
    """The other end of a TLS connection; it goes on with the handshake when a test says so."""

    def __init__(self, listening: socket.socket, context: ssl.SSLContext) -> None:
        accepted, _ = listening.accept()
        accepted.settimeout(0)
        self.sock = context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)

    def close(self) -> None:
        self.sock.close()

    def step(self) -> None:
        with suppress(ssl.SSLError):  # it must wait, or the client has left
            self.sock.do_handshake()


def test_a_plain_connection_opens(listening: socket.socket) -> None:
    """It needs a turn after the one in which it began; the poller then watches the connection."""
    opening = Opening(_port(listening))
    opening.turn(lambda: opening.outcomes)
    (connection,) = opening.outcomes
    assert isinstance(connection, HTTP1Connection)
    opening.pending.cancel()
    assert not connection.transport.is_stale()
    connection.close()
    accepted, _ = listening.accept()
    with accepted:
        assert accepted.recv(1) == b""


def test_a_refused_connection_is_an_error() -> None:
    """Its text says which server refused."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = _port(server)
    opening = Opening(port)
    opening.turn(lambda: opening.outcomes)
    assert opening.error == f"127.0.0.1:{port}: Connection refused"


def test_a_failure_of_the_first_step_does_not_end_it_early(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner has the connection by then. `Opening` makes sure of that."""

    def refuse(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socket", refuse)
    opening = Opening(_port(listening))
    opening.poller.take_turn()
    assert opening.error.endswith("Too many open files")


@pytest.mark.parametrize(
    ("names", "problem"),
    [(["127.0.0.1"], ""), (["192.0.2.1"], "IP address mismatch")],
)
def test_the_server_must_have_the_right_certificate(
    names: list[str], problem: str, listening: socket.socket, trust: Authority
) -> None:
    """The steps of TLS follow each other in turns."""
    opening = Opening(_port(listening), UpstreamTLS(ca=trust.ca))
    with closing(Server(listening, _server_context(trust, *names))) as server:
        opening.turn(lambda: server.step() or opening.outcomes)
    if problem:
        assert problem in opening.error
        return
    (connection,) = opening.outcomes
    assert isinstance(connection, HTTP1Connection)
    assert isinstance(connection.transport.sock, ssl.SSLSocket)
    connection.close()


def test_a_server_without_http2_is_refused(listening: socket.socket, trust: Authority) -> None:
    """The socket is closed."""
    opening = Opening(_port(listening), UpstreamTLS(ca=trust.ca), "h2")
    with closing(Server(listening, _server_context(trust, "127.0.0.1"))) as server:
        opening.turn(lambda: server.step() or opening.outcomes)
        assert opening.error.endswith("the server does not offer HTTP/2 in ALPN")
        server.sock.settimeout(5)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            server.sock.recv(1)


def test_a_server_that_resets_in_the_handshake_is_an_error(
    listening: socket.socket, trust: Authority
) -> None:
    """The error does not reach another connection of this thread through OpenSSL's queue."""
    opening = Opening(_port(listening), UpstreamTLS(ca=trust.ca))
    opening.poller.take_turn()
    accepted, _ = listening.accept()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    accepted.close()
    opening.turn(lambda: opening.outcomes)
    assert "reset" in opening.error
    with pytest.raises(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(
            ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="tool"
        ).do_handshake()


def test_a_silent_server_is_given_up(listening: socket.socket, trust: Authority) -> None:
    """A sweep after the deadline fails the connection, and closes its socket."""
    opening = Opening(_port(listening), UpstreamTLS(ca=trust.ca))
    opening.poller.take_turn()
    seconds = limits.upstream_connect_seconds_max
    opening.pending.sweep(opening.pool.now + seconds - 1)
    assert opening.outcomes == []
    opening.pending.sweep(opening.pool.now + seconds + 1)
    assert isinstance(opening.outcomes[0], UpstreamTimeoutError)
    assert opening.error.endswith("no connection within 10 s")
    _assert_closed(listening)
    opening.pending.sweep(opening.pool.now + seconds + 2)
    assert len(opening.outcomes) == 1


def test_a_cancelled_connection_is_silent(listening: socket.socket, trust: Authority) -> None:
    """It closes its socket, and does not call its owner."""
    opening = Opening(_port(listening), UpstreamTLS(ca=trust.ca))
    opening.poller.take_turn()
    opening.pending.cancel()
    opening.poller.take_turn()
    assert opening.outcomes == []
    _assert_closed(listening)


def test_an_internal_error_ends_one_connection(
    listening: socket.socket,
    trust: Authority,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The barrier logs it, and the owner hears of it as of any other failure."""
    opening = Opening(_port(listening), UpstreamTLS(ca=trust.ca))
    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", lambda *_, **__: 1 / 0)
    opening.poller.take_turn()
    assert opening.error == OURS
    assert "cannot connect to 127.0.0.1" in caplog.text
    _assert_closed(listening)


def _assert_closed(listening: socket.socket) -> None:
    """Read what the client has sent, and its end."""
    accepted, _ = listening.accept()
    with accepted:
        accepted.settimeout(5)
        while accepted.recv(4096):
            pass
