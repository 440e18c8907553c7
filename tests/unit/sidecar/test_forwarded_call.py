"""A request of CMD on its way: its credentials, both bodies, and how each side's end is taken."""

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import jwt
import pytest
import trio
from issuer_world import minter  # noqa: F401 - a fixture

from crewgate import limits
from crewgate._datapath.socket_poller import SocketPoller
from crewgate.core.http_types import HeaderField
from crewgate.errors import UpstreamError
from crewgate.issuer import GatewayAddress, Minter, ProofKey
from crewgate.server.exchange import Exchange
from crewgate.sidecar.call_credentials import BranchCredentials, ProofCredentials
from crewgate.sidecar.forwarded_call import CallCredentials, ForwardedCall
from crewgate.sidecar.local_connection import LocalConnection
from crewgate.sidecar.local_proxy import LocalProxy
from crewgate.upstream.interfaces import RequestHead

ORIGIN = "https://gateway.example:8443"
WANTS_NONCE = [(b"dpop-nonce", b"n-1"), (b"www-authenticate", b'DPoP error="use_dpop_nonce"')]


class Stream:
    """One request at the gateway: what arrived, and what a test answers."""

    touched = True

    def __init__(self, call: ForwardedCall) -> None:
        self.call = call
        self.head: RequestHead
        self.body = b""
        self.over = self.released = self.paused = self.is_full = False
        self.answer = SimpleNamespace(
            status=0, headers=[], trailers=[], complete=False, informed=False, take=self._take
        )
        self._data = b""

    def begin(self, head: RequestHead, body: bytes, *, ends: bool) -> bool:
        self.head, self.body, self.over = head, body, ends
        return True

    def send_body(self, data: bytes) -> bool:
        self.body += data
        return not self.is_full

    def end_body(self, trailers: object) -> None:
        self.over = True

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def release(self) -> None:
        self.released = True

    def field(self, name: bytes) -> str:
        """The only value of a field."""
        (value,) = [value for key, value in self.head.fields if key == name]
        return value.decode()

    def answers(
        self, status: int, fields: list[HeaderField], data: bytes = b"", *, ends: bool = True
    ) -> None:
        """Let this arrive of the response."""
        self.answer.status, self.answer.headers = status, fields
        self._data, self.answer.complete = data, ends
        self.call.progressed()

    def _take(self) -> bytes:
        data, self._data = self._data, b""
        return data


class World:
    """CMD's end of a connection, and the requests that reached the gateway."""

    def __init__(self, client: trio.SocketStream, credentials: CallCredentials) -> None:
        self.client = client
        self.streams: list[Stream] = []
        self.arrived = trio.Semaphore(0)
        self.ended: list[ForwardedCall] = []
        self.connection: LocalConnection
        self.clock = SimpleNamespace(now=trio.current_time(), date=b"now")
        self._credentials = credentials

    def start(self, call: ForwardedCall) -> None:
        stream = Stream(call)
        self.streams.append(stream)
        call.begun(stream)  # type: ignore[arg-type]
        self.arrived.release()

    def forward(self, exchange: Exchange) -> None:
        ForwardedCall(exchange, self, self._credentials, self.ended.append).start()

    async def request(self, head: str, body: bytes = b"") -> Stream:
        """Send one request over HTTP/1.1, and return it as it reached the gateway."""
        await self.client.send_all(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        await self.arrived.acquire()
        return self.streams[-1]

    async def response(self) -> bytes:
        """Read until the head of a response is here, and what came with it."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = await self.client.receive_some()
            assert more
            data += more
        return data


@pytest.fixture
def credentials() -> BranchCredentials:
    credentials = BranchCredentials(ProofKey.generate(), ORIGIN)
    credentials.token = "to.ke.n"
    return credentials


@pytest.fixture
async def world(credentials: BranchCredentials) -> AsyncIterator[World]:
    poller = SocketPoller()
    ours, theirs = socket.socketpair()
    client = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    world = World(client, credentials)
    world.connection = connection = LocalConnection(theirs, poller, world.clock, world.forward)

    async def serve() -> None:
        with theirs:
            await connection.serve()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        nursery.start_soon(serve)
        async with client:
            yield world
        nursery.cancel_scope.cancel()
    poller.close()


async def test_credentials_of_cmd_are_replaced(
    world: World, credentials: BranchCredentials
) -> None:
    """Each of them, in whatever field a tool could look; the proof is for this very request."""
    stream = await world.request(
        "POST /search?q=1 HTTP/1.1\nHost: x\nAuthorization: Bearer mine\nDPoP: mine\n"
        "X-Api-Key: mine\nX-Goog-Api-Key: mine\nConnection: keep-alive, x-hop\nX-Hop: 1\n"
        "TE: gzip, trailers\nContent-Length: 4",
        b"body",
    )
    assert stream.head.target == b"/search?q=1"
    assert (stream.head.length, stream.body, stream.over) == (4, b"body", True)
    assert stream.field(b"authorization") == "DPoP to.ke.n"
    assert {name for name, _ in stream.head.fields} == {b"authorization", b"dpop", b"te"}
    proof = jwt.decode(stream.field(b"dpop"), options={"verify_signature": False})
    assert (proof["htm"], proof["htu"]) == ("POST", f"{ORIGIN}/search")
    stream.answers(
        200, [(b"dpop-nonce", b"n-0"), (b"x-cost", b"1"), (b"content-length", b"2")], b"ok"
    )
    response = await world.response()
    assert b"x-cost: 1" in response
    assert b"dpop-nonce" not in response
    assert response.endswith(b"\r\n\r\nok")
    credentials.token = ""
    await world.client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"the branch has ended" in await world.response()


async def test_a_nonce_is_sent_again_and_remembered(world: World) -> None:
    """With a proof of its own and the whole body, once; the next request has it at once."""
    first = await world.request("POST / HTTP/1.1\nHost: x\nContent-Length: 4", b"bo")
    assert not first.over
    first.answers(401, WANTS_NONCE)
    await world.arrived.acquire()
    assert first.released
    second = world.streams[1]
    assert second.body == b"bo"
    await world.client.send_all(b"dy")
    while not second.over:
        await trio.lowlevel.checkpoint()
    assert second.body == b"body"
    proofs = [
        jwt.decode(stream.field(b"dpop"), options={"verify_signature": False})
        for stream in world.streams
    ]
    assert [proof.get("nonce") for proof in proofs] == [None, "n-1"]
    assert proofs[0]["jti"] != proofs[1]["jti"]
    second.answers(401, WANTS_NONCE)  # not a third time
    assert (await world.response()).startswith(b"HTTP/1.1 401")
    third = await world.request("GET / HTTP/1.1\nHost: x")
    assert jwt.decode(third.field(b"dpop"), options={"verify_signature": False})["nonce"] == "n-1"


async def test_a_body_that_is_too_long_to_keep_is_not_sent_again(world: World) -> None:
    """CMD gets the answer; it may repeat the request."""
    size = limits.sidecar_repeat_bytes_max + 1
    stream = await world.request(f"POST / HTTP/1.1\nHost: x\nContent-Length: {size}", b"x" * size)
    while not stream.over:
        await trio.lowlevel.checkpoint()
    stream.answers(401, WANTS_NONCE)
    assert (await world.response()).startswith(b"HTTP/1.1 401")
    assert len(world.streams) == 1


async def test_who_does_not_read_stops_the_other_side(world: World) -> None:
    """In both directions; and all of it arrives once that side reads."""
    size = 8 * limits.buffer_bytes_max
    stream = await world.request(f"POST / HTTP/1.1\nHost: x\nContent-Length: {size}")
    stream.is_full = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.client.send_all, b"x" * size)
        while not stream.body:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(stream.body) < size  # CMD waits
        stream.is_full = False
        while not stream.over:
            stream.call.writable()
            await trio.lowlevel.checkpoint()
    assert len(stream.body) == size
    stream.answers(200, [(b"content-length", b"%d" % (2 * size))], b"y" * size, ends=False)
    while not stream.paused:
        await trio.lowlevel.checkpoint()
    taken = len(await world.client.receive_some(size))
    while stream.paused:
        taken += len(await world.client.receive_some(size))
    stream.answers(200, [], b"y" * size)
    while taken < 2 * size:
        taken += len(await world.client.receive_some(size))


async def test_a_client_that_only_ends_its_sending_gets_its_answer(world: World) -> None:
    """One that closes the whole connection ends its call."""
    stream = await world.request("GET / HTTP/1.1\nHost: x")
    await world.client.send_eof()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert not stream.released
    stream.answers(200, [(b"content-length", b"2")], b"ok")
    assert (await world.response()).endswith(b"ok")
    assert await world.client.receive_some() == b""


async def test_a_client_that_closes_ends_its_call(world: World) -> None:
    """At once, whatever the gateway does."""
    stream = await world.request("GET / HTTP/1.1\nHost: x")
    await world.client.aclose()
    while not stream.released:
        await trio.lowlevel.checkpoint()


async def test_a_failure_is_a_problem_or_cuts_the_answer(world: World) -> None:
    """The document says whether a retry is safe."""
    stream = await world.request("GET / HTTP/1.1\nHost: x")
    stream.call.failed(UpstreamError("refused"))
    head, _, body = (await world.response()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502")
    assert "may have done its work" in json.loads(body)["detail"]
    stream = await world.request("GET / HTTP/1.1\nHost: x")
    stream.answers(200, [(b"content-length", b"5")], b"he", ends=False)
    stream.call.failed(UpstreamError("broke"))
    assert (await world.response()).endswith(b"he")
    assert await world.client.receive_some() == b""


def test_a_token_of_cmd_gets_a_proof_if_it_needs_one(
    minter: Minter,  # noqa: F811 - the fixture
) -> None:
    """Under `crewgate run`: the scheme DPoP without a proof, and a token of the sidecar's key."""
    key = ProofKey.generate()
    credentials = ProofCredentials(key, ORIGIN)
    bound, other = (
        minter.root(
            role="r", tools=["search.*"], quota=1, process="p", now=0, binding=each.binding
        ).token
        for each in (key, ProofKey.generate())
    )
    for authorization in (b"DPoP to.ke.n", b"Bearer " + bound.encode()):
        fields = [(b"authorization", authorization)]
        shown = dict(credentials.shown(b"GET", b"/a?b", fields))
        assert shown[b"authorization"] == b"DPoP " + authorization.partition(b" ")[2]
        proof = jwt.decode(shown[b"dpop"], options={"verify_signature": False})
        assert proof["htu"] == f"{ORIGIN}/a"
    bare = (b"authorization", b"DPoP to.ke.n")
    for fields in (
        [(b"authorization", b"Bearer x")],
        [(b"authorization", b"Bearer " + other.encode())],
        [bare, (b"dpop", b"mine")],
        [bare, bare],
    ):
        assert credentials.shown(b"GET", b"/", fields) == fields


async def test_an_internal_error_fails_one_request(
    world: World, credentials: BranchCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CMD gets 500, and the connection goes on."""
    with monkeypatch.context() as patched:
        patched.setattr(world, "start", None)
        await world.client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await world.response()).startswith(b"HTTP/1.1 500")
    assert not (await world.request("GET / HTTP/1.1\nHost: x")).released


@pytest.mark.parametrize("begun", [False, True])
async def test_an_idle_connection_is_closed(world: World, begun: bool) -> None:
    """Before its first byte, and after a request."""
    if begun:
        stream = await world.request("GET / HTTP/1.1\nHost: x")
        stream.answers(200, [(b"content-length", b"2")], b"ok")
        assert (await world.response()).endswith(b"ok")
    world.clock.now += limits.idle_seconds_max - 1
    world.connection.sweep()
    world.clock.now += 2
    world.connection.sweep()
    assert await world.client.receive_some() == b""


async def test_a_client_that_reads_nothing_is_cut_off(world: World) -> None:
    """Its call ends too, so that the gateway need not wait for it."""
    stream = await world.request("GET / HTTP/1.1\nHost: x")
    size = 64 * limits.buffer_bytes_max
    stream.answers(200, [(b"content-length", b"%d" % (2 * size))], b"y" * size, ends=False)
    while not stream.paused:
        await trio.lowlevel.checkpoint()
    world.connection.sweep()
    assert not stream.released
    world.clock.now += limits.send_wait_seconds_max + 1
    world.connection.sweep()
    assert stream.released


async def test_calls_are_bounded(
    credentials: BranchCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may hold bodies, and a connection has many of them; one that ends makes room."""
    monkeypatch.setattr(limits, "sidecar_calls_max", 1)
    calls, begin = trio.open_memory_channel[ForwardedCall](9)
    proxy = LocalProxy(GatewayAddress("127.0.0.1", 1, "localhost", Path("none")), credentials)
    proxy.gateway = SimpleNamespace(  # type: ignore[assignment]
        start=calls.send_nowait, run=trio.sleep_forever, sweep=lambda: None
    )
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proxy.run)

            async def request() -> trio.SocketStream:
                ours, theirs = trio.socket.socketpair()
                nursery.start_soon(proxy.serve, trio.SocketStream(theirs))
                client = trio.SocketStream(ours)
                await client.send_all(b"GET /search HTTP/1.1\r\nHost: x\r\n\r\n")
                return client

            first = await request()
            held = await begin.receive()
            refused = await request()
            assert (await refused.receive_some()).startswith(b"HTTP/1.1 429 ")
            await first.aclose()
            while not held.over:
                await trio.lowlevel.checkpoint()
            last = await request()
            await begin.receive()
            nursery.cancel_scope.cancel()
        for client in (refused, last):
            await client.aclose()
