"""What an upstream's servers may take and hold: times, connections; and what passes unchanged."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio
from upstream_fleet import Names, Standing, fleet, fronted, servers, statuses, until


@contextmanager
def _deaf() -> Iterator[str]:
    """The URL of a server that accepts no connection: its queue is full, and nobody takes any."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        place = listening.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(place)
            yield f"http://127.0.0.1:{place[1]}"
        finally:
            for one in waiting:
                one.close()


async def test_a_connection_is_waited_for_so_long(standing: Standing) -> None:
    """A server that accepts nothing: 504 after `connect_seconds`, and nothing is charged."""
    with _deaf() as url:
        async with fronted(standing, f'url = "{url}"\nconnect_seconds = 2') as front:
            begun = time.monotonic()
            answer = await front.client.post("/search", content=b"x")
            assert answer.status_code == 504, answer.text
            assert answer.json()["detail"].endswith("charged nothing: a retry is safe.")
            assert time.monotonic() - begun > 0.5  # limits are looked at once a second
            assert answer.headers["content-type"] == "application/problem+json"
            assert await front.spent_micro() == 0


async def test_an_answer_is_waited_for_so_long(standing: Standing) -> None:
    """A server that took the call and says nothing: 504 after `first_byte_seconds`, and charged."""
    async with fleet() as some:
        server = await some.start()
        server.mood = "silent"
        async with fronted(standing, f'url = "{server.url()}"\nfirst_byte_seconds = 0.5') as front:
            answer = await front.client.post("/search", content=b"x")
            assert answer.status_code == 504
            assert "may have seen the call" in answer.json()["detail"]
            assert await front.spent_micro() == 10_000
    assert len(server.calls) == 1


async def test_the_rest_of_an_answer_is_waited_for_so_long(standing: Standing) -> None:
    """A server that falls silent in mid-answer: the client sees after `idle_seconds` that it is."""
    async with fleet() as some:
        server = await some.start()
        server.mood = "stuck"
        async with fronted(standing, f'url = "{server.url()}"\nidle_seconds = 0.5') as front:
            with pytest.raises(httpx.RemoteProtocolError):
                await front.client.get("/pages/a")
    assert len(server.calls) == 1


async def test_connections_are_bounded(standing: Standing) -> None:
    """Twelve calls at once over at most two connections: all are answered, one after the other."""
    async with fleet() as some:
        server = await some.start()
        server.gate = trio.Event()
        answers = []
        async with fronted(standing, f'url = "{server.url()}"\nconnections = 2') as front:

            async def call() -> None:
                answers.append(await front.client.get("/pages/a"))

            async with trio.open_nursery() as nursery:
                for _ in range(12):
                    nursery.start_soon(call)
                await until(lambda: server.under_way == 2)
                server.gate.set()
    assert statuses(answers) == {200: 12}
    assert server.connections == 2


async def test_what_a_tool_says_of_retrying_passes(standing: Standing) -> None:
    """A tool's own 503 with Retry-After is its answer, and not made the gateway's."""
    async with fleet() as some:
        server = await some.start()
        server.status, server.lines = 503, b"retry-after: 17\r\n"
        async with fronted(standing, f'url = "{server.url()}"') as front:
            answer = await front.client.get("/pages/a")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "17")
    assert answer.json() == {"server": server.name}


async def test_a_hanging_name_stops_no_other_upstream(tmp_path: Path, own: Standing) -> None:
    """The DNS of one upstream hangs: its calls are 504, those of another do not notice."""
    names = Names(tmp_path)
    names.tell({"hanging.example": ["hang"], "tools.example": ["127.0.0.2"]})
    async with fleet() as some:
        server = await some.start(host="127.0.0.2")
        other = (
            f'url = "{server.url("tools.example")}"\n[upstream.hanging]\n'
            'url = "http://hanging.example"\nconnect_seconds = 1\n'
            '[tool."search.hanging"]\nmethod = "GET"\npath = "/hanging"\n'
            'upstream = "hanging"\nprice = "0.01"'
        )
        async with fronted(own, other, environment=names.environment) as front:
            answers = []

            async def hang() -> None:
                answers.append(await front.client.get("/hanging"))

            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(hang)
                assert servers(await front.calls(20)) == {server.name: 20}
            assert statuses(answers) == {504: 20}
            assert await front.spent_micro() == 20 * 10_000
