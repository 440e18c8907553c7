"""Sockets of a service manager are taken over, and others are refused."""

import os
import socket
from collections.abc import Iterator

import pytest

from crewgate.errors import ConfigurationError
from crewgate.runtime import socket_activation
from crewgate.runtime.socket_activation import activated_sockets, describe


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def given(monkeypatch: pytest.MonkeyPatch, sock: socket.socket, count: int = 1) -> None:
    """Announce a copy of `sock` as the first descriptor."""
    descriptor = os.dup(sock.fileno())
    os.set_inheritable(descriptor, True)
    monkeypatch.setattr(socket_activation, "_FIRST", descriptor)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", str(count))
    monkeypatch.setenv("LISTEN_FDNAMES", "crewgate.socket")


def test_a_socket_is_found_by_its_address(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No child inherits it or the variables by chance."""
    given(monkeypatch, listening)
    found = activated_sockets()
    address = listening.getsockname()
    assert found.keys() == {address}
    with found[address] as sock:
        assert (sock.getblocking(), sock.get_inheritable()) == (False, False)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} & os.environ.keys()
        assert activated_sockets() == {}


def test_sockets_for_another_process_are_left_alone(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a program has them that `crewgate` was started from."""
    given(monkeypatch, listening)
    monkeypatch.setenv("LISTEN_PID", "1")
    assert activated_sockets() == {}
    os.close(socket_activation._FIRST)


@pytest.mark.parametrize("kind", ["connected", "datagram", "unix", "none"])
def test_only_a_listening_tcp_socket_is_of_use(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept=yes, ListenDatagram= and ListenStream=/PATH are such mistakes."""
    one, other = socket.socketpair()
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with one, other, datagram, unix:
        given(monkeypatch, {"connected": one, "datagram": datagram, "unix": unix}.get(kind, one))
        if kind == "none":
            os.close(socket_activation._FIRST)
        why = "Bad file descriptor" if kind == "none" else "expected a listening TCP socket"
        match = rf"socket 0 of the service manager \(crewgate\.socket\): {why}"
        with pytest.raises(ConfigurationError, match=match):
            activated_sockets()


def test_an_address_is_written_as_in_a_unit() -> None:
    assert describe(("127.0.0.1", 8443)) == "127.0.0.1:8443"
    assert describe(("::", 8443)) == "[::]:8443"
