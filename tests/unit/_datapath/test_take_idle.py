"""The short way to an idle connection of a pool: it is the one that the long way would take."""

import socket
from types import SimpleNamespace

import pytest
from fake_pool import Call, Opener, running
from h2_upstream import Turns
from trio.testing import wait_all_tasks_blocked

from crewgate._datapath.http1_connection import HTTP1Connection
from crewgate._datapath.in_flight import InFlightCall
from crewgate.upstream.balancer import Host
from crewgate.upstream.pool import UpstreamPool

REQUEST = b"GET / HTTP/1.1\r\nhost: tool\r\n\r\n"
PERMIT = SimpleNamespace(grant=SimpleNamespace(caller="article", branch_key=b"a"))


class Straight(InFlightCall):
    """Ends with its answer."""

    def answered(self, stream: HTTP1Connection, answer: object) -> None:  # type: ignore[override]
        stream.release()


class Real(Opener):
    """Makes connections over sockets, whose other ends are `theirs`."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns()
        self.theirs: list[socket.socket] = []

    async def open(self, member: Host, pool: UpstreamPool) -> HTTP1Connection:  # type: ignore[override]
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.theirs.append(theirs)
        return HTTP1Connection(ours, self.turns, pool, b"tool", member)


@pytest.mark.parametrize(("reuse", "key"), [("shared", ""), ("crew", "article"), ("branch", b"a")])
async def test_a_straight_call_takes_an_idle_connection_and_gives_it_back(
    reuse: str, key: str | bytes
) -> None:
    """It counts as a call of the host for as long as it is under way; no connection is opened."""
    opener = Real()
    async with running(opener, reuse=reuse) as pool:  # type: ignore[arg-type]
        (host,) = pool.hosts
        assert pool.reuse_key(PERMIT) == key  # type: ignore[arg-type]
        assert (pool.take_idle(key, True), host.outstanding) == (None, 0)
        call = Call()
        pool.start(PERMIT, call)  # type: ignore[arg-type]
        await wait_all_tasks_blocked()
        call.carriers[0].release()  # type: ignore[attr-defined]
        for _ in range(2):
            connection = pool.take_idle(key, True)
            assert connection is not None
            assert (connection.reuse_key, host.outstanding) == (key, 1)
            assert (pool.take_idle(key, True), host.outstanding) == (None, 1)
            connection.begin_straight(Straight(), REQUEST, len(REQUEST), False)
            opener.turns.take()
            assert opener.theirs[0].recv(100) == REQUEST
            opener.theirs[0].sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx")
            opener.turns.take()
            assert host.outstanding == 0
        assert pool.take_idle("other", True) is None
        host.breaker.admits = False
        assert pool.take_idle(key, True) is None
    assert len(opener.theirs) == 1
    opener.theirs[0].close()
