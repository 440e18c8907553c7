"""What a good intermediary does with HTTP itself, over both protocols, from client to tool."""

from pathlib import Path

import msgspec
import pytest
import trio
from gateway_world import World, answering, running_gateway
from hpack import Decoder
from http2_frames import PREFACE, Frames, head
from hyperframe.frame import DataFrame, HeadersFrame
from scripted_server import read_request
from tls_listener import read_all, read_until

from crewgate.config import CORSConfig

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TOKEN = (b"authorization", b"Bearer good")
Fields = list[tuple[bytes, bytes]]


def _request(method: bytes, path: bytes, *fields: tuple[bytes, bytes]) -> Fields:
    return [
        (b":method", method),
        (b":scheme", b"https"),
        (b":path", path),
        (b":authority", b"a"),
        *fields,
    ]


async def _ask_http1(world: World, wire: bytes) -> bytes:
    """All of the answers to these bytes on a connection of their own."""
    stream = await world.edge.connect("http/1.1")
    await stream.send_all(wire)
    answer = await read_all(stream)
    await trio.aclose_forcefully(stream)
    return answer


async def _ask_http2(world: World, wire: bytes) -> tuple[list[Fields], bytes]:
    """(blocks of fields, body) of the answer on stream 1."""
    stream = await world.edge.connect("h2")
    await stream.send_all(PREFACE + wire)
    frames, decoder = Frames(stream), Decoder()
    blocks: list[Fields] = []
    body = b""
    while frame := await frames.next():
        if frame.stream_id != 1:
            continue
        if type(frame) is HeadersFrame:
            blocks.append([(bytes(n), bytes(v)) for n, v in decoder.decode(frame.data, raw=True)])
        elif type(frame) is DataFrame:
            body += frame.data
        if "END_STREAM" in frame.flags:
            break
    await trio.aclose_forcefully(stream)
    return blocks, body


def _close(line: bytes, *lines: bytes) -> bytes:
    """A request of HTTP/1.1 with a good token, the last of its connection."""
    fields = (b"Host: a", b"Authorization: Bearer good", b"Connection: close", *lines)
    return b"\r\n".join((line, *fields, b"", b""))


async def _trailing(stream: trio.SocketStream, number: int) -> None:
    """Echo a chunked request as it came, with trailers that are good and some that are not."""
    data = await read_until(stream, b"\r\n0\r\n")
    while not data.endswith(b"\r\n\r\n"):
        data += await stream.receive_some()
    await stream.send_all(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n"
        b"x-sum: up\r\nx-crewgate-crew: liar\r\nkeep-alive: x\r\n\r\n" % (len(data), data)
    )


async def test_trailers_over_http1(tmp_path: Path) -> None:
    """Trailers of request and answer arrive; those that are not theirs to send do not."""
    async with running_gateway(_trailing, tmp_path) as world:
        answer = await _ask_http1(
            world,
            _close(b"POST /search HTTP/1.1", b"Transfer-Encoding: chunked", b"TE: trailers")
            + b"3\r\nabc\r\n0\r\nx-down: 1\r\nte: x\r\nauthorization: Bearer good\r\n\r\n",
        )
    upstream, _, trailers = answer.rpartition(b"\r\n0\r\n")
    assert b"abc\r\n0\r\nx-down: 1\r\n\r\n" in upstream
    assert trailers == b"x-sum: up\r\n\r\n"


async def test_trailers_over_http2(tmp_path: Path) -> None:
    """The same from a client that speaks HTTP/2."""
    async with running_gateway(_trailing, tmp_path) as world:
        wire = head(1, _request(b"POST", b"/search", TOKEN)) + DataFrame(1, b"abc").serialize()
        trailers = [(b"x-down", b"1"), (b"cookie", b"a=b")]
        blocks, body = await _ask_http2(world, wire + head(1, trailers, "END_STREAM"))
    assert b"abc\r\n0\r\nx-down: 1\r\n\r\n" in body
    assert blocks[1:] == [[(b"x-sum", b"up")]]


@pytest.mark.parametrize(
    ("answer", "length"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"5"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"5"),
    ],
)
async def test_head(answer: bytes, length: bytes | None, tmp_path: Path) -> None:
    """HEAD is GET's tool; its answer's length is the one that GET's would have, and no byte."""
    async with running_gateway(answering(answer), tmp_path) as world:
        http1 = await _ask_http1(world, _close(b"HEAD /pages/x HTTP/1.1"))
        blocks, body = await _ask_http2(
            world, head(1, _request(b"HEAD", b"/pages/x", TOKEN), "END_STREAM")
        )
    assert http1.endswith(b"\r\n\r\n")
    assert http1.count(b"\r\n\r\n") == 1
    assert (b"content-length: 5\r\n" in http1) == (length is not None)
    assert body == b""
    assert dict(blocks[0]).get(b"content-length") == length


async def test_answer_without_content(tmp_path: Path) -> None:
    """204 ends with its head, and the connection can be used again."""
    nothing = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with running_gateway(answering(nothing), tmp_path) as world:
        again = _close(b"GET /pages/x HTTP/1.1")
        first = again.replace(b"Connection: close\r\n", b"")
        answers = await _ask_http1(world, first + again)
        blocks, body = await _ask_http2(
            world, head(1, _request(b"GET", b"/pages/x", TOKEN), "END_STREAM")
        )
    assert answers.count(b"HTTP/1.1 204 ") == 2
    assert b"transfer-encoding" not in answers
    assert (dict(blocks[0])[b":status"], body) == (b"204", b"")


async def test_date(tmp_path: Path) -> None:
    """An answer without a Date gets one, one with a Date keeps it (RFC 9110 §6.6.1)."""
    dated = OK.replace(b"\r\n\r\n", b"\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n")
    for answer in (OK, dated):
        async with running_gateway(answering(answer), tmp_path) as world:
            http1 = await _ask_http1(world, _close(b"GET /pages/x HTTP/1.1"))
            blocks, _ = await _ask_http2(
                world, head(1, _request(b"GET", b"/pages/x", TOKEN), "END_STREAM")
            )
        assert http1.lower().count(b"\r\ndate: ") == 1
        assert [name for name, _ in blocks[0]].count(b"date") == 1
        assert (b"1970" in http1) == (b"1970" in dict(blocks[0])[b"date"]) == (answer is dated)


async def test_expectation_is_met_here(tmp_path: Path) -> None:
    """100 (Continue) comes from the gateway once the call is permitted; the tool sees no Expect."""
    seen: list[bytes] = []
    async with running_gateway(answering(OK, seen), tmp_path) as world:
        stream = await world.edge.connect("http/1.1")
        wire = _close(b"POST /search HTTP/1.1", b"Expect: 100-continue", b"Content-Length: 3")
        await stream.send_all(wire)
        assert await read_until(stream, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send_all(b"abc")
        assert (await read_all(stream)).endswith(b"ok")
        await trio.aclose_forcefully(stream)
        refused = await _ask_http1(world, wire.replace(b"good", b"bad"))
    assert refused.startswith(b"HTTP/1.1 401 ")
    assert b"expect" not in seen[0].lower()
    assert seen[0].endswith(b"abc")


async def test_early_hints(tmp_path: Path) -> None:
    """103 (RFC 8297) goes through; 100 is the next hop's own, and nobody passes for the gateway."""
    hints = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"
        b"X-Crewgate-Crew: liar\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n"
    )
    async with running_gateway(answering(hints + OK), tmp_path) as world:
        http1 = await _ask_http1(world, _close(b"GET /pages/x HTTP/1.1"))
        old = await _ask_http1(world, _close(b"GET /pages/x HTTP/1.0"))
        blocks, body = await _ask_http2(
            world, head(1, _request(b"GET", b"/pages/x", TOKEN), "END_STREAM")
        )
    assert http1.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert old.startswith(b"HTTP/1.1 200 ")
    assert blocks[0] == [(b":status", b"103"), (b"link", b"</a>")]
    assert (dict(blocks[1])[b":status"], body) == (b"200", b"ok")


async def test_absolute_form(tmp_path: Path) -> None:
    """What goes upstream is in origin form; another authority than Host's is refused."""
    seen: list[bytes] = []
    async with running_gateway(answering(OK, seen), tmp_path) as world:
        answer = await _ask_http1(world, _close(b"GET https://a/pages/x?y HTTP/1.1"))
        assert answer.startswith(b"HTTP/1.1 200 ")
        for target in (b"https://b/pages/x", b"http://a/pages/x", b"ftp://a/pages/x"):
            answer = await _ask_http1(world, _close(b"GET %b HTTP/1.1" % target))
            assert answer.startswith(b"HTTP/1.1 400 ")
    assert [request.split(b"\r\n")[0] for request in seen] == [b"GET /pages/x?y HTTP/1.1"]


@pytest.mark.parametrize("path", [b"/pages/x", b"/nowhere"])
async def test_options_needs_a_token(path: bytes, tmp_path: Path) -> None:
    """Where no browser is expected, OPTIONS is a request like any: no path tells itself apart."""
    async with running_gateway(answering(OK), tmp_path) as world:
        asked = _close(
            b"OPTIONS %b HTTP/1.1" % path,
            b"Origin: https://app.example",
            b"Access-Control-Request-Method: GET",
        )
        stranger = asked.replace(b"Authorization: Bearer good\r\n", b"")
        assert (await _ask_http1(world, stranger)).startswith(b"HTTP/1.1 401 ")
        assert (await _ask_http1(world, asked)).startswith(b"HTTP/1.1 404 ")


async def test_browser(tmp_path: Path) -> None:
    """A listed page's preflight is answered without a token; it may read answers and refusals."""
    theirs = OK.replace(b"\r\n\r\n", b"\r\nAccess-Control-Allow-Origin: *\r\n\r\n")
    page = (b"origin", b"https://app.example")
    async with running_gateway(answering(theirs), tmp_path) as world:
        site = world.gateway.routes
        cors = CORSConfig(("https://app.example",))
        entries = tuple(msgspec.structs.replace(entry, cors=cors) for entry in site.entries)
        world.gateway.routes = msgspec.structs.replace(site, entries=entries)
        asked = (b"access-control-request-method", b"POST")
        blocks, body = await _ask_http2(
            world, head(1, _request(b"OPTIONS", b"/search", page, asked), "END_STREAM")
        )
        preflight = dict(blocks[0])
        assert (preflight[b":status"], body) == (b"204", b"")
        assert preflight[b"access-control-allow-origin"] == page[1]
        assert preflight[b"access-control-allow-methods"] == b"POST"
        assert b"authorization" in preflight[b"access-control-allow-headers"]
        for fields, status in (((page, TOKEN), b"200"), ((page,), b"401")):
            wire = head(1, _request(b"POST", b"/search", *fields), "END_STREAM")
            blocks, _ = await _ask_http2(world, wire)
            allowed = [v for n, v in blocks[0] if n == b"access-control-allow-origin"]
            assert (dict(blocks[0])[b":status"], allowed) == (status, [page[1]])
        other = (b"origin", b"https://other.example")
        blocks, _ = await _ask_http2(
            world, head(1, _request(b"OPTIONS", b"/search", other, asked), "END_STREAM")
        )
        assert dict(blocks[0])[b":status"] == b"401"
        assert not world.judge.permits[1:]


async def test_a_tool_s_body_bound(tmp_path: Path) -> None:
    """A longer body is refused to holders of a good token, and no byte of it goes upstream."""
    seen: list[bytes] = []
    async with running_gateway(answering(OK, seen), tmp_path) as world:
        site = world.gateway.routes
        entries = tuple(msgspec.structs.replace(entry, body_bytes_max=4) for entry in site.entries)
        world.gateway.routes = msgspec.structs.replace(site, entries=entries)
        wire = _close(b"POST /search HTTP/1.1", b"Content-Length: 5") + b"12345"
        assert (await _ask_http1(world, wire)).startswith(b"HTTP/1.1 413 ")
        assert (await _ask_http1(world, wire.replace(b"good", b"bad"))).startswith(b"HTTP/1.1 401 ")
        fits = _close(b"POST /search HTTP/1.1", b"Content-Length: 4") + b"1234"
        assert (await _ask_http1(world, fits)).startswith(b"HTTP/1.1 200 ")
        await world.settled()
    assert [request[-4:] for request in seen] == [b"1234"]
    assert [permit.ended for permit in world.judge.permits] == ["released", "settled"]


@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_tool_s_body_bound_holds_however_a_body_is_framed(
    tmp_path: Path, pieces: int
) -> None:
    """Chunks with the head or after it, HTTP/2 without a length: a problem; no excess goes on."""
    seen: list[bytes] = []
    async with running_gateway(answering(OK, seen), tmp_path) as world:
        site = world.gateway.routes
        entries = tuple(msgspec.structs.replace(entry, body_bytes_max=4) for entry in site.entries)
        world.gateway.routes = msgspec.structs.replace(site, entries=entries)
        stream = await world.edge.connect("http/1.1")
        wire = b"2\r\n12\r\n3\r\n345\r\n0\r\n\r\n"
        ask = _close(b"POST /search HTTP/1.1", b"Transfer-Encoding: chunked") + wire
        size = -(-len(ask) // pieces)
        for at in range(0, len(ask), size):
            await stream.send_all(ask[at : at + size])
            await trio.testing.wait_all_tasks_blocked(0.01)
        answer = await read_all(stream)
        await trio.aclose_forcefully(stream)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b'"type":"' in answer.replace(b" ", b"")
        body = DataFrame(1, b"12345", flags=["END_STREAM"]).serialize()
        blocks, text = await _ask_http2(world, head(1, _request(b"POST", b"/search", TOKEN)) + body)
        assert dict(blocks[0])[b":status"] == b"413"
        assert b"request_id" in text
        await world.settled()
    assert not [request for request in seen if b"345" in request]
    assert {permit.ended for permit in world.judge.permits} <= {"released", "settled"}
    assert [record.outcome for record in world.sink.records] == ["refused"] * 2


async def test_requests_of_a_pipeline_are_separate_calls(tmp_path: Path) -> None:
    """Each is judged by its own token, and answered in its turn."""

    async def script(stream: trio.SocketStream, number: int) -> None:
        while request := await read_request(stream):
            path = request.split(b" ")[1]
            await stream.send_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path)
            )

    async with running_gateway(script, tmp_path) as world:
        ask = _close(b"GET /pages/%b HTTP/1.1")
        open_ = ask.replace(b"Connection: close\r\n", b"")
        wire = open_ % b"1" + open_.replace(b"good", b"bad") % b"2" + ask % b"3"
        answers = await _ask_http1(world, wire)
    places = [answers.index(part) for part in (b"/pages/1", b"401 ", b"/pages/3")]
    assert places == sorted(places)
    assert answers.count(b"HTTP/1.1 ") == 3
