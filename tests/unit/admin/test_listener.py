"""The admin listener over real sockets: who may read, and with which fields it answers."""

from contextlib import AbstractAsyncContextManager

import pytest
from plaintext_client import Connect, served

from crewgate.admin.listener import AdminListener
from crewgate.server.plaintext_http1 import PlaintextRequest, PlaintextResponse

asked: list[str] = []


async def respond(request: PlaintextRequest) -> PlaintextResponse:
    asked.append(request.path)
    return PlaintextResponse(200, b"well\n")


def admin(*, is_local: bool = True) -> AbstractAsyncContextManager[Connect]:
    return served(lambda listener: AdminListener(listener, respond, is_local=is_local).run)


async def test_an_answer_is_not_to_be_kept() -> None:
    async with admin() as connect:
        status, body, fields = await (await connect()).ask("/readyz?verbose")
        assert (status, body, asked.pop()) == (200, b"well\n", "/readyz")
        assert fields[b"cache-control"] == b"no-store"
        assert fields[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize(
    ("method", "fields", "status"),
    [
        ("POST", {}, 405),
        ("OPTIONS", {}, 405),
        ("GET", {"origin": "http://localhost"}, 403),
        ("GET", {"host": "evil.example"}, 421),
        ("GET", {"host": "127.0.0.1.evil.example"}, 421),
        ("GET", {"host": "10.0.0.1:8447"}, 421),
        ("GET", {"host": "localhost:8447"}, 200),
        ("GET", {"host": "127.0.0.1"}, 200),
        ("GET", {"host": "[::1]:8447"}, 200),
    ],
)
async def test_who_may_read(method: str, fields: dict[str, str], status: int) -> None:
    """No page of a browser, whatever its name resolves to; the rest of the machine may."""
    async with admin() as connect:
        asked.clear()
        found, _, answered = await (await connect()).ask(method=method, **fields)
        assert found == status
        assert (b"allow" in answered) is (status == 405)
        assert asked == (["/livez"] if status == 200 else [])


async def test_where_others_may_connect_any_host_is_good() -> None:
    async with admin(is_local=False) as connect:
        assert (await (await connect()).ask(host="gw1.example"))[0] == 200


async def test_a_refusal_of_a_large_body_arrives() -> None:
    """The listener reads no body, and a reset would destroy the answer that it has sent."""
    size = 8_000_000
    async with admin() as connect:
        client = await connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size
        )
        await client.send(bytes(size))  # more than the buffers of both sides take
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 405")
        assert answer.endswith(b"this listener answers GET and HEAD only\n")
