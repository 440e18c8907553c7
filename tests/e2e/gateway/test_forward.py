"""The way of a request over real sockets: what tool and client see, and what it costs."""

import json
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest
import trio
from gateway_world import BRANCH, ROOT, World, answering, running_gateway
from scripted_server import read_request
from tls_listener import read_all

from crewgate._datapath.in_flight import InFlightCall, InFlightCalls
from crewgate.core.audit.records import CallOutcome
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial
from crewgate.gateway.call.undecided_call import ListenerPolicy
from crewgate.upstream.balancer import SocketAddress

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Tool: yes\r\nContent-Length: 2\r\n\r\nok"
VERSIONS = pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])


async def _only_call(world: World) -> object:
    await world.settled()
    (record,) = [record for record in world.sink.records if type(record).__name__ == "CallRecord"]
    return record


@VERSIONS
async def test_permitted_call(http2: bool, tmp_path: Path) -> None:
    """The tool gets the same target and body, who is calling, the gateway's key, no token."""
    seen: list[bytes] = []
    async with (
        running_gateway(answering(OK, seen), tmp_path) as world,
        world.client(http2=http2) as client,
    ):
        answer = await client.post(
            "/search?q=a%20b&q=", content=b"query", headers={"cookie": "a=b", "x-trace": "1"}
        )
        assert (answer.status_code, answer.text, answer.headers["x-tool"]) == (200, "ok", "yes")
        record = await _only_call(world)
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /search?q=a%20b&q= HTTP/1.1"
    assert body == b"query"
    for line in (
        b"x-trace: 1",
        b"content-length: 5",
        b"x-crewgate-crew: article",
        b"x-crewgate-orchestrator: article/article-1",
        b"x-crewgate-process: pid_7729",
        b"x-crewgate-role: researcher",
        b"x-crewgate-subject: user_414",
        b"x-crewgate-tool: search.web",
        b"x-upstream-key: Key s3cret",
        b"x-crewgate-branch: " + BRANCH.encode(),
        b"x-crewgate-ancestry: " + ROOT.encode(),
    ):
        assert line in lines
    assert b"authorization" not in head.lower()
    assert b"cookie" not in head.lower()
    assert b"good" not in head
    assert [permit.ended for permit in world.judge.permits] == ["settled"]
    assert (record.outcome, record.status, record.cost_micro) == (CallOutcome.DONE, 200, 10_000)
    assert (record.bytes_in, record.bytes_out, record.tool) == (5, 2, "search.web")
    assert (record.peer, record.listener, record.method) == ("127.0.0.0/24", "agents", "POST")


REFUSALS = [
    (Reason.INVALID_TOKEN, 401, "invalid_token"),
    (Reason.TOKEN_EXPIRED, 401, "invalid_token"),
    (Reason.WRONG_AUDIENCE, 401, "invalid_token"),
    (Reason.BRANCH_REVOKED, 401, "invalid_token"),
    (Reason.BINDING_MISMATCH, 401, "invalid_token"),
    (Reason.TOOL_NOT_ALLOWED, 403, "insufficient_scope"),
    (Reason.CREDITS_EXHAUSTED, 403, None),
    (Reason.BUDGET_UNAVAILABLE, 503, None),
    (Reason.TABLE_FULL, 503, None),
    (Reason.ORCHESTRATOR_HELD, 503, None),
    (Reason.REVOCATION_UNAVAILABLE, 503, None),
]


@VERSIONS
@pytest.mark.parametrize(("reason", "status", "code"), REFUSALS, ids=str)
async def test_refusal(
    reason: Reason, status: int, code: str | None, http2: bool, tmp_path: Path
) -> None:
    """A refusal is a problem document with the challenge of its kind; the tool sees nothing."""
    seen: list[bytes] = []
    async with (
        running_gateway(answering(OK, seen), tmp_path) as world,
        world.client(http2=http2) as client,
    ):
        grant = world.judge.grants[b"good"]
        world.judge.denials = [
            Denial(reason, grant, level=BRANCH, used_micro=2_500_000, quota_micro=2_500_000)
        ]
        answer = await client.post("/search", content=bytes(100_000))
        # The connection is as good as before.
        assert (await client.post("/search", content=b"x")).status_code == 200
        assert len(world.edge.listener.connections) == 1
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"https://crewgate.dev/problems/{reason.value}"
    assert problem["status"] == status
    challenge = answer.headers.get("www-authenticate", "")
    if status == 503:
        seconds = "10" if reason in {Reason.TABLE_FULL, Reason.ORCHESTRATOR_HELD} else "1"
        assert answer.headers["retry-after"] == seconds
        assert not challenge
    else:
        metadata = f"{world.edge.url}/.well-known/oauth-protected-resource"
        assert challenge.startswith(f'Bearer resource_metadata="{metadata}"')
        assert (f'error="{code}"' in challenge) if code else ("error=" not in challenge)
        assert ('scope="search.web"' in challenge) == (code == "insufficient_scope")
    assert (problem["used_credits"], problem["level"]) == ("2.50", BRANCH)
    denied = world.sink.records[0]
    assert (denied.verdict, denied.reason, denied.request) == (
        "deny",
        reason.value,
        problem["request_id"],
    )
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("headers", "path", "status", "slug"),
    [
        ({}, "/search", 401, "missing-token"),
        ({"authorization": "Basic abc"}, "/search", 401, "missing-token"),
        ({"authorization": "Bearer bad"}, "/search", 401, "invalid-token"),
        ({"authorization": "Bearer bad"}, "/nowhere", 401, "invalid-token"),
        ({}, "/nowhere", 401, "missing-token"),
        ({"authorization": "Bearer good"}, "/nowhere", 404, "unknown-tool"),
        ({"authorization": "Bearer good"}, "/search?access_token=x", 400, "invalid-request"),
        ({"authorization": "Bearer good x"}, "/search", 400, "invalid-request"),
        ({"authorization": "Bearer "}, "/search", 400, "invalid-request"),
        ({"authorization": "Bearer good"}, "/pages/%2e%2e/search", 400, "invalid-request"),
        ({"authorization": "Bearer good"}, "/pages//x", 400, "invalid-request"),
        ({"authorization": "Bearer good"}, "/pages/a%2fb", 400, "invalid-request"),
        ({"authorization": "Bearer good"}, "/pages/a%5cb", 400, "invalid-request"),
        (
            {"authorization": "Bearer good", "x-api-key": "x"},
            "/v1/embeddings",
            400,
            "invalid-request",
        ),
    ],
)
async def test_request_that_is_refused_before_a_good_signature(
    headers: dict[str, str], path: str, status: int, slug: str, tmp_path: Path
) -> None:
    """What cannot be judged is refused and counted; the tool sees nothing."""
    seen: list[bytes] = []
    async with running_gateway(answering(OK, seen), tmp_path) as world:
        stream = await world.edge.connect("http/1.1")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        await stream.send_all(
            f"POST {path} HTTP/1.1\r\nHost: a\r\n{lines}Connection: close\r\n"
            "Content-Length: 0\r\n\r\n".replace("POST /pages", "GET /pages").encode()
        )
        answer = b""
        while piece := await stream.receive_some():
            answer += piece
        await trio.aclose_forcefully(stream)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(body)["type"].endswith(f"/{slug}")
    if status == 401 and slug == "missing-token":
        assert b"error=" not in head
    assert not seen
    if slug == "unknown-tool":
        assert [record.reason for record in world.sink.records] == [slug]
    else:
        assert world.sink.counts == [("agents", Reason(slug), "127.0.0.0/24")]


WEBSOCKET = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
H2C = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMA\r\n"


@pytest.mark.parametrize(
    ("path", "token", "status", "slug", "upgrade"),
    [
        ("/summary", "good", 501, "upgrade-unsupported", WEBSOCKET),
        ("/summary", "good", 501, "upgrade-unsupported", H2C),
        ("/summary", "bad", 401, "invalid-token", WEBSOCKET),
        ("/nowhere", "good", 404, "unknown-tool", WEBSOCKET),
    ],
)
async def test_a_request_for_another_protocol_is_refused_like_any(
    path: str, token: str, status: int, slug: str, upgrade: str, tmp_path: Path
) -> None:
    """With a problem, and a record of whose it was; who may not call the tool hears no more."""
    seen: list[bytes] = []
    async with running_gateway(answering(OK, seen), tmp_path) as world:
        stream = await world.edge.connect("http/1.1")
        line = f"GET {path} HTTP/1.1\r\nHost: a\r\nauthorization: Bearer {token}\r\n"
        await stream.send_all(f"{line}{upgrade}\r\n".encode())
        answer = await read_all(stream)
        await trio.aclose_forcefully(stream)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(body)["type"].endswith(f"/{slug}")
    assert not seen
    if token == "good":
        assert [record.reason for record in world.sink.records] == [slug]
        assert [permit.ended for permit in world.judge.permits] == ["released"] * (status == 501)
    else:
        assert not world.sink.records


@pytest.mark.parametrize("field", ["X-Crewgate-Crew", "x_crewgate_crew", "x-upstream-key"])
async def test_field_of_ours_is_refused(field: str, tmp_path: Path) -> None:
    """A spoof is refused and recorded; without a good token it tells no path from another."""
    seen: list[bytes] = []
    async with running_gateway(answering(OK, seen), tmp_path) as world, world.client() as client:
        answer = await client.post("/search", headers={field: "x"})
        assert answer.status_code == 400
        assert answer.json()["type"].endswith("/invalid-request")
        assert [record.reason for record in world.sink.records] == ["invalid-request"]
        client.headers["authorization"] = "Bearer bad"
        known = await client.post("/search", headers={field: "x"})
        unknown = await client.post("/nowhere", headers={field: "x"})
    assert known.status_code == unknown.status_code == 401
    assert known.headers["www-authenticate"] == unknown.headers["www-authenticate"]
    assert not seen
    assert not world.judge.permits


async def test_trailer_of_ours_is_refused(tmp_path: Path) -> None:
    """Trailers that came with the request are looked at before anything goes upstream."""
    seen: list[bytes] = []
    async with running_gateway(answering(OK, seen), tmp_path) as world:
        stream = await world.edge.connect("http/1.1")
        await stream.send_all(
            b"POST /search HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx_crewgate-crew: bd\r\n\r\n"
        )
        answer = await stream.receive_some()
        record = await _only_call(world)
        await trio.aclose_forcefully(stream)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert (record.outcome, record.cost_micro) == (CallOutcome.REFUSED, 0)
    assert [permit.ended for permit in world.judge.permits] == ["released"]
    assert not seen


async def test_ended_before_its_first_turn(tmp_path: Path) -> None:
    """A call that is revoked between verdict and task sends no byte and costs nothing."""
    seen: list[bytes] = []

    class Revoking(InFlightCalls):
        def add(self, call: InFlightCall) -> None:
            super().add(call)
            call.end(CallOutcome.REVOKED)

    async with running_gateway(answering(OK, seen), tmp_path) as world, world.client() as client:
        world.live = world.gateway._services.in_flight = Revoking(10**9)
        assert (await client.post("/search")).status_code == 401
        record = await _only_call(world)
    assert (record.outcome, record.cost_micro) == (CallOutcome.REVOKED, 0)
    assert [permit.ended for permit in world.judge.permits] == ["released"]
    assert not seen


async def test_judged_bytes_are_forwarded(tmp_path: Path) -> None:
    """An encoded spelling of a path is judged as the path it means, and forwarded as it came."""
    seen: list[bytes] = []
    async with running_gateway(answering(OK, seen), tmp_path) as world, world.client() as client:
        answer = await client.get("/%70ages/%41?x=%2F")
        assert answer.status_code == 200
    assert seen[0].startswith(b"GET /%70ages/%41?x=%2F HTTP/1.1\r\n")
    assert world.judge.asked[0][1] == 1


async def test_call_that_needs_credit(tmp_path: Path) -> None:
    """Draws are awaited and the gate asked again, as long as they help; then it is said."""
    async with running_gateway(answering(OK), tmp_path) as world, world.client() as client:
        needs = Denial(Reason.BUDGET_UNAVAILABLE, world.judge.grants[b"good"], retry=True)
        world.judge.denials = [needs]
        assert (await client.post("/search")).status_code == 200
        assert world.judge.draws == [(needs, 0)]
        assert [drawn for *_, drawn in world.judge.asked] == [False, True]
        world.judge.denials = [needs, needs, needs]
        answer = await client.post("/search")
        assert answer.status_code == 503
        assert len(world.judge.draws) == 3


async def test_observe(tmp_path: Path) -> None:
    """A listener that observes tells the gate so, and what would have been is in the record."""
    door = ListenerPolicy("agents", observe=True)
    async with running_gateway(answering(OK), tmp_path, door) as world, world.client() as client:
        world.judge.observed_reason = Reason.TOOL_NOT_ALLOWED
        assert (await client.post("/search")).status_code == 200
        record = await _only_call(world)
    assert world.judge.asked[0][2] is True
    assert record.would == "tool-not-allowed"


async def test_hosts_of_a_listener(tmp_path: Path) -> None:
    """A listener that names its hosts serves no other."""
    door = ListenerPolicy("agents", hosts=frozenset({b"gateway.example", b"[::1]:8443"}))
    async with running_gateway(answering(OK), tmp_path, door) as world, world.client() as client:
        assert (await client.post("/search")).status_code == 421
        for host, status in (
            ("Gateway.Example:8443", 200),
            ("gateway.example", 200),
            ("[::1]:8443", 200),
            ("[::1]:8444", 421),
            ("[::1]", 421),
        ):
            answer = await client.post("/search", headers={"host": host})
            assert (host, answer.status_code) == (host, status)


async def test_metadata(tmp_path: Path) -> None:
    """The document of RFC 9728 is public, and names the audience and the issuers."""
    async with running_gateway(answering(OK), tmp_path) as world, world.client(token="") as client:
        answer = await client.get("/.well-known/oauth-protected-resource")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["resource"] == "https://gateway.example"
    assert answer.json()["authorization_servers"] == ["https://orchestrator.example"]


async def test_full_audit_refuses(tmp_path: Path) -> None:
    """Where a call could not be recorded it is not made, and its permit is released."""
    seen: list[bytes] = []
    async with running_gateway(answering(OK, seen), tmp_path) as world, world.client() as client:
        world.sink.state.writable = False
        answer = await client.post("/search")
        assert answer.status_code == 503
        assert answer.json()["type"].endswith("/audit-unavailable")
        assert world.unrecorded("audit-unavailable") == 1
    assert [permit.ended for permit in world.judge.permits] == ["released"]
    assert not seen


@VERSIONS
async def test_body_is_judged_first(http2: bool, tmp_path: Path) -> None:
    """`decide_on = "body"`: the verdict comes after the body's first bytes; all of it goes on."""
    seen: list[bytes] = []
    body = bytes(range(256)) * 1000

    async with (
        running_gateway(answering(OK, seen), tmp_path) as world,
        world.client(http2=http2) as client,
    ):

        async def pieces() -> AsyncIterator[bytes]:
            yield body[:1000]
            # Whether the tool may be used at all is asked first, and holds nothing.
            assert [permit.ended for permit in world.judge.permits] == ["released"]
            yield body[1000:]

        answer = await client.post(
            "/v1/embeddings", content=pieces(), headers={"content-length": str(len(body))}
        )
        assert answer.status_code == 200
    assert seen[0].endswith(body)


async def test_no_body_is_kept_for_a_stranger(tmp_path: Path) -> None:
    """Without a good token the answer does not wait for the body that would be judged."""
    async with running_gateway(answering(OK), tmp_path) as world:
        stream = await world.edge.connect("http/1.1")
        await stream.send_all(
            b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer bad\r\n"
            b"Content-Length: 5\r\n\r\n"
        )
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 401 ")
        await trio.aclose_forcefully(stream)
    assert world.sink.counts == [("agents", Reason.INVALID_TOKEN, "127.0.0.0/24")]


@VERSIONS
async def test_dead_upstream(http2: bool, tmp_path: Path) -> None:
    """503 and a refund when no byte got there; 502 and the price when one did."""

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)

    async with (
        running_gateway(script, tmp_path) as world,
        world.client(http2=http2) as client,
    ):
        answer = await client.post("/search", content=b"x")
        assert answer.status_code == 502
        assert answer.json()["type"].endswith("/upstream-failed")
        assert answer.json()["branch"] == world.judge.permits[0].grant.branch
        record = await _only_call(world)
        assert (record.outcome, record.cost_micro) == (CallOutcome.UPSTREAM_ERROR, 10_000)
        pool = world.gateway.routes.entries[0].pool
        nowhere = SocketAddress(socket.AF_INET, ("127.0.0.1", 1))
        pool.resolved(pool.upstream.origin, [nowhere])
        answer = await client.post("/search", content=b"x")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        problem = answer.json()
        assert problem["type"].endswith("/upstream-unavailable")
        assert problem["detail"].endswith("a retry is safe.")
        assert problem["branch"] == world.judge.permits[-1].grant.branch
        await world.settled()
    assert [permit.ended for permit in world.judge.permits] == ["settled", "released"]
    assert world.sink.records[-1].cost_micro == 0


@VERSIONS
async def test_upstream_that_dies_in_mid_answer(http2: bool, tmp_path: Path) -> None:
    """The client sees that the answer is not whole."""

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")

    async with (
        running_gateway(script, tmp_path) as world,
        world.client(http2=http2) as client,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/search", content=b"x")
        record = await _only_call(world)
    assert (record.outcome, record.status) == (CallOutcome.UPSTREAM_ERROR, 200)


@VERSIONS
async def test_client_hangs_up(http2: bool, tmp_path: Path) -> None:
    """The upstream's connection is closed, the call charged, the record says who left."""
    closed = trio.Event()

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        assert await stream.receive_some() == b""
        closed.set()

    async with running_gateway(script, tmp_path) as world:
        async with (
            world.client(http2=http2) as client,
            client.stream("POST", "/search", content=b"x") as answer,
        ):
            assert answer.status_code == 200
        await closed.wait()
        record = await _only_call(world)
    assert record.outcome is CallOutcome.CLIENT_GONE
    assert [permit.ended for permit in world.judge.permits] == ["settled"]


@VERSIONS
async def test_trailers_and_streams_both_ways(http2: bool, tmp_path: Path) -> None:
    """A body of unknown size is streamed up while the answer is streamed down."""

    async def script(stream: trio.SocketStream, number: int) -> None:
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += await stream.receive_some()
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x-hop\r\nX-Hop: 1\r\n"
            b"X-Crewgate-Crew: liar\r\n\r\n%x\r\n%b\r\n0\r\nx-sum: 1\r\n\r\n" % (len(data), data)
        )

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with (
        running_gateway(script, tmp_path) as world,
        world.client(http2=http2) as client,
    ):
        answer = await client.post("/search", content=pieces())
    assert b"transfer-encoding: chunked" in answer.content
    assert b"one" in answer.content
    assert b"two" in answer.content
    assert "x-hop" not in answer.headers
    assert "x-crewgate-crew" not in answer.headers


async def test_a_call_is_recorded_before_it_is_settled(tmp_path: Path) -> None:
    """Whatever kills the worker between the two, the call has a record."""
    async with (
        running_gateway(answering(OK, []), tmp_path) as world,
        world.client() as client,
    ):
        ended: list[list[str]] = []
        write = world.sink.write_lines

        def look(records: Sequence, calls: object) -> None:
            ended.append([permit.ended for permit in world.judge.permits])
            write(records, calls)

        world.sink.write_lines = look  # type: ignore[method-assign]
        await client.post("/search", content=b"query")
        await _only_call(world)
        assert ended == [[""]]
        assert [permit.ended for permit in world.judge.permits] == ["settled"]
