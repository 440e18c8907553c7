"""Sockets that a parent keeps for its children: a connection waits in one, and none is reset."""

import os
import socket

import pytest

from crewgate.errors import ConfigurationError
from crewgate.runtime.listening import KeptSockets, adopt, listen, normal

HERE = "127.0.0.1"


@pytest.fixture
def port() -> int:
    """One that is free."""
    with socket.socket() as sock:
        sock.bind((HERE, 0))
        return int(sock.getsockname()[1])


def test_a_connection_outlives_the_process_that_listened(port: int) -> None:
    """It is made while no process accepts, and the next one with the socket serves it."""
    kept = KeptSockets()
    (descriptor,) = kept.fit(0, [(HERE, port)])
    first = adopt([os.dup(descriptor)])
    with socket.create_connection((HERE, port)) as client:
        first[HERE, port].close()  # the first child ends without having accepted
        client.sendall(b"hello")
        second = adopt([os.dup(descriptor)])[HERE, port]
        second.settimeout(10)
        connection, _ = second.accept()
        with connection, second:
            assert connection.recv(5) == b"hello"
    kept.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HERE, port))


def test_sockets_follow_the_addresses_that_are_wanted(port: int) -> None:
    """One that stays is the same; one that is not wanted is closed, so no client waits in it."""
    kept = KeptSockets()
    first = kept.fit(0, [(HERE, port)])
    assert kept.fit(0, [(HERE, port)]) == first
    assert len(kept.fit(1, [(HERE, port)])) == 1  # the next worker shares the port
    kept.keep(0, [])
    kept.drop(1)
    kept.drop(7)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HERE, port))
    assert kept.fit(0, []) == []


def test_a_port_that_cannot_be_had_is_left_to_the_process(port: int) -> None:
    """Another program is there, which does not share it. The process gets all other sockets."""
    kept = KeptSockets()
    with socket.socket() as other, socket.socket() as free:
        other.bind((HERE, port))
        other.listen()
        free.bind(("127.0.0.2", 0))
        there = free.getsockname()
        free.close()
        with pytest.raises(ConfigurationError, match=f"cannot listen on {HERE} port {port}"):
            listen(HERE, port)
        (descriptor,) = kept.fit(0, [(HERE, port), there])
        assert kept.addresses(0) == {there}
        with socket.create_connection(there), adopt([os.dup(descriptor)])[there] as given:
            given.settimeout(10)
            given.accept()[0].close()
    kept.close()


def test_an_address_is_found_however_it_is_written() -> None:
    """The kernel answers with the shortest form."""
    with listen("0:0:0:0:0:0:0:1", 0) as sock:
        address, port = sock.getsockname()[:2]
        found = adopt([os.dup(sock.fileno())])
        assert list(found) == [normal("0:0:0:0:0:0:0:1", port)]
        found["::1", port].close()
        assert normal(address, port) == ("::1", port)


def test_a_shared_socket_is_for_every_worker_and_never_closed(port: int) -> None:
    """The service manager keeps a copy: a client would wait in it, and a second one is refused."""
    with listen(HERE, port) as shared:
        kept = KeptSockets({(HERE, port): shared})
        assert kept.fit(0, [(HERE, port)]) == [shared.fileno()]
        assert kept.fit(1, [(HERE, port)]) == [shared.fileno()]
        assert kept.fit(2, []) == []
        kept.keep(0, [])
        kept.drop(1)
        kept.close()
        assert kept.fit(0, [(HERE, port)]) == [shared.fileno()]
        socket.create_connection((HERE, port)).close()
