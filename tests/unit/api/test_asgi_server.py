"""An ASGI application on real sockets of our own edge, and clients that behave as they like."""

import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import ngh2
import pytest
import trio
from http2_pair import GET
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from tls_listener import Edge, read_all, read_until, running_edge

from crewgate import limits
from crewgate.api.asgi_server import ASGIServer

BODY_MAX = 10_000
Serve = Callable[[Request], Awaitable[Response]]


@asynccontextmanager
async def bridged(application: Any, folder: Path) -> Any:
    """The application behind an edge."""
    async with running_edge(ASGIServer(application, BODY_MAX).accept, folder) as edge:
        yield edge


def app(serve: Serve) -> Starlette:
    """One endpoint for every path and method."""
    routes = [Route("/{path:path}", serve, methods=["GET", "POST", "PUT", "DELETE"])]
    return Starlette(routes=routes)


def client(edge: Edge, *, http2: bool) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        verify=edge.client_context(), http2=http2, base_url=edge.url, timeout=20, trust_env=False
    )


async def tell(request: Request) -> Response:
    """What has arrived."""
    said = {
        "method": request.method,
        "path": request.scope["path"],
        "raw": request.scope["raw_path"].decode(),
        "query": request.scope["query_string"].decode(),
        "host": request.headers["host"],
        "field": request.headers.getlist("x-field"),
        "body": len(await request.body()),
        "peer": request.state.peer.address,
        "scheme": request.scope["scheme"],
        "version": request.scope["http_version"],
    }
    return Response(json.dumps(said), 201, {"X-Told": "yes"})


@pytest.mark.parametrize("http2", [False, True])
async def test_a_request_arrives_whole_and_its_answer_goes_back(
    tmp_path: Path, http2: bool
) -> None:
    """Method, path as it was sent and decoded, query, fields, body; status, fields, body."""
    async with bridged(app(tell), tmp_path) as edge, client(edge, http2=http2) as http:
        fields = [("x-field", "one"), ("x-field", "two")]
        answer = await http.post("/a%2Fb/c%20d?q=%20", content=9_999 * b"x", headers=fields)
    assert (answer.status_code, answer.headers["x-told"]) == (201, "yes")
    assert answer.headers["content-length"] == str(len(answer.content))
    said = answer.json()
    assert said["path"] == "/a/b/c d"
    assert said["raw"] == "/a%2Fb/c%20d"
    assert said["query"] == "q=%20"
    assert said["host"] == f"{edge.host}:{edge.port}"
    assert said["field"] == ["one", "two"]
    assert (said["body"], said["peer"], said["scheme"]) == (9_999, "127.0.0.1", "https")
    assert said["version"] == ("2" if http2 else "1.1")


@pytest.mark.parametrize("http2", [False, True])
async def test_a_body_over_the_bound_is_refused(tmp_path: Path, http2: bool) -> None:
    """413 by the edge, with a length declared or not, and the next request is served."""

    async def streamed() -> Any:
        for _ in range(20):
            yield b"x" * 1000

    async with bridged(app(tell), tmp_path) as edge, client(edge, http2=http2) as http:
        for content in (b"x" * (BODY_MAX + 1), streamed()):
            answer = await http.post("/", content=content)
            assert answer.status_code == 413
        assert (await http.post("/", content=b"x" * BODY_MAX)).json()["body"] == BODY_MAX


@pytest.mark.parametrize("http2", [False, True])
async def test_head_gets_the_fields_and_no_body(tmp_path: Path, http2: bool) -> None:
    """With the length that GET would have, streamed answers too."""

    async def serve(request: Request) -> Response:
        if request.url.path == "/stream":
            return StreamingResponse(iter([b"a", b"b"]))
        return Response(b"four")

    async with bridged(app(serve), tmp_path) as edge, client(edge, http2=http2) as http:
        answer = await http.head("/whole")
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == "4"
        assert (await http.head("/stream")).content == b""
        assert (await http.get("/whole")).content == b"four"


@pytest.mark.parametrize("http2", [False, True])
async def test_a_client_that_leaves_much_unread_holds_the_application_up(
    tmp_path: Path, http2: bool
) -> None:
    """A streamed answer waits for its reader, and is whole when it has been read."""
    sent = 0

    async def pieces() -> Any:
        nonlocal sent
        for _ in range(256):
            sent += 1
            yield bytes(limits.buffer_bytes_max)

    async def serve(request: Request) -> Response:
        return StreamingResponse(pieces())

    async with (
        bridged(app(serve), tmp_path) as edge,
        client(edge, http2=http2) as http,
        http.stream("GET", "/") as answer,
    ):
        await trio.testing.wait_all_tasks_blocked(0.2)
        assert sent < 256
        size = 0
        async for piece in answer.aiter_raw():
            size += len(piece)
    assert (sent, size) == (256, 256 * limits.buffer_bytes_max)


@pytest.mark.parametrize("before", [False, True], ids=["waiting", "streaming"])
@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
async def test_the_work_for_a_client_that_hangs_up_is_cancelled(
    tmp_path: Path, protocol: str, before: bool
) -> None:
    """Whether an answer has begun or not."""
    begun, cancelled = trio.Event(), trio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if before:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with bridged(application, tmp_path) as edge:
        stream = await edge.connect(protocol)
        if protocol == "h2":
            http2 = ngh2.Connection(ngh2.Role.CLIENT)
            http2.initiate_connection()
            http2.send_request(GET, end_stream=True)
            await stream.send_all(http2.data_to_send())
        else:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        with trio.fail_after(20):
            await begun.wait()
            await trio.aclose_forcefully(stream)
            await cancelled.wait()


FAILURES: dict[str, list[dict[str, Any]]] = {
    "silent": [],
    "no end": [{"type": "http.response.start", "status": 200, "headers": []}],
    "body first": [{"type": "http.response.body", "body": b"x"}],
    "two heads": [{"type": "http.response.start", "status": 200, "headers": []}] * 2,
    "unknown": [{"type": "http.response.trailers"}],
}


@pytest.mark.parametrize("messages", FAILURES.values(), ids=FAILURES)
async def test_an_application_that_fails_is_a_500(
    tmp_path: Path, messages: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing was sent yet; the connection and the server live on, and the log knows."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/good":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
        for message in messages:
            await send(message)

    async with bridged(application, tmp_path) as edge, client(edge, http2=True) as http:
        assert (await http.get("/")).status_code == 500
        if not messages:
            assert (await http.get("/good")).status_code == 204
    assert "internal error" in caplog.text


async def test_an_application_that_fails_in_mid_answer_breaks_it_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A client must not take half an answer for a whole one."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ZeroDivisionError

    async with bridged(application, tmp_path) as edge:
        stream = await edge.connect("http/1.1")
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        data = await read_all(stream)
        await trio.aclose_forcefully(stream)
    assert b"half" in data
    assert not data.endswith(b"0\r\n\r\n")
    assert "internal error" in caplog.text


async def test_an_unread_body_does_not_disturb_the_next_request(tmp_path: Path) -> None:
    """An answer that came without reading it; the connection goes on or is closed, never mixed."""

    async def serve(request: Request) -> Response:
        return Response(request.scope["path"])

    async with bridged(app(serve), tmp_path) as edge:
        stream = await edge.connect("http/1.1")
        body = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
        head = b"POST /one HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        await stream.send_all(head + body + b"GET /two HTTP/1.1\r\nhost: x\r\n\r\n")
        data = await read_until(stream, b"/two")
        await trio.aclose_forcefully(stream)
    assert b"/one" in data
    assert b"smuggled" not in data


async def test_what_a_client_made_up_cannot_end_the_application(tmp_path: Path) -> None:
    """Odd hosts, bytes that are no UTF-8, long queries: an answer each, and never a 5xx."""
    odd = [
        b"GET /%%ff%%fe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /a%%00b HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /?%s HTTP/1.1\r\nhost: x\r\n\r\n" % (b"a=b&" * 1000),
        b"GET /%%3Fx%%23y HTTP/1.1\r\nhost: [::1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
    ]
    async with bridged(app(tell), tmp_path) as edge:
        for request in odd:
            stream = await edge.connect("http/1.1")
            await stream.send_all(request.replace(b"%%", b"%"))
            status = (await read_until(stream, b"\r\n")).split(b" ")[1]
            assert status[:1] in {b"2", b"4"}, request
            await trio.aclose_forcefully(stream)
