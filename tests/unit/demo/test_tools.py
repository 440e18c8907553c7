"""The tool server gives the story what it needs, and lists honestly who called."""

import json
from collections.abc import AsyncIterator

import h11
import httpx
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from crewgate.demo.tools import ToolServer, serve

BRANCH = "0199c1d2-0000-7000-8000-00000000000a"


class Client:
    """Speaks HTTP/1.1 over a memory stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.state = h11.Connection(h11.CLIENT)

    async def post(self, path: str, body: object = None, branch: str = BRANCH) -> None:
        """Send a request."""
        data = json.dumps(body).encode()
        fields = [("host", "tools"), ("content-length", str(len(data)))]
        if branch:
            fields += [("X-Crewgate-Branch", branch), ("X-Crewgate-Request", "r-1")]
        for event in (
            h11.Request(method="POST", target=path, headers=fields),
            h11.Data(data=data),
            h11.EndOfMessage(),
        ):
            await self.stream.send_all(self.state.send(event))

    async def event(self) -> object:
        """The next event of the response."""
        while (event := self.state.next_event()) is h11.NEED_DATA:
            self.state.receive_data(await self.stream.receive_some(4096))
        return event

    async def answer(self) -> tuple[int, dict[str, object]]:
        """A whole response: its status and its JSON."""
        head = await self.event()
        assert isinstance(head, h11.Response)
        data = bytearray()
        while isinstance(event := await self.event(), h11.Data):
            data += event.data
        self.state.start_next_cycle()
        return head.status_code, json.loads(data)


@pytest.fixture
async def client(nursery: trio.Nursery) -> AsyncIterator[Client]:
    """A client of a server of its own."""
    near, far = memory_stream_pair()
    nursery.start_soon(ToolServer().serve, far)
    yield Client(near)
    await near.aclose()


async def test_search_is_partial_for_ever(client: Client) -> None:
    """Whatever page is asked for, there is another one: the trap of the story."""
    cursor = 0
    for page in range(1, 5):
        await client.post("/search", {"cursor": cursor})
        status, answer = await client.answer()
        assert (status, answer["partial"], answer["cursor"]) == (200, True, page)
        cursor = page


async def test_embeddings_depend_on_their_text(client: Client) -> None:
    """Two texts have two embeddings; the same text has the same."""
    answers = []
    for text in ("one", "two", "one"):
        await client.post("/v1/embeddings", {"input": text})
        answers.append((await client.answer())[1])
    assert answers[0] == answers[2] != answers[1]


async def test_publish_and_unknown_paths(client: Client) -> None:
    """A publication is confirmed with its title; there is no other tool."""
    await client.post("/publish", {"title": "On loops"})
    assert await client.answer() == (200, {"published": True, "title": "On loops"})
    await client.post("/other")
    assert (await client.answer())[0] == 404


async def test_calls_are_listed_with_the_identity_that_came_with_them(client: Client) -> None:
    """Also those without one; asking for the list is not a call."""
    for branch in (BRANCH, ""):
        await client.post("/search", {}, branch)
        await client.answer()
    for _ in range(2):
        await client.post("/received", branch="")
        assert await client.answer() == (
            200,
            {
                "received": [
                    {"path": "/search", "request": "r-1", "branch": BRANCH},
                    {"path": "/search", "request": "", "branch": ""},
                ]
            },
        )


async def test_a_summary_comes_event_by_event(client: Client, autojump_clock: MockClock) -> None:
    """An event every 50 ms, each on its way at once, not at the end."""
    await client.post("/summary")
    head = await client.event()
    assert isinstance(head, h11.Response)
    start = trio.current_time()
    for number in range(10):
        event = await client.event()
        assert isinstance(event, h11.Data)
        assert bytes(event.data) == f"data: sentence {number}\n\n".encode()
    assert trio.current_time() - start == pytest.approx(0.45)


async def test_a_broken_client_ends_its_connection_only() -> None:
    """Bytes that are no HTTP are an end, not a crash of the server."""
    near, far = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ToolServer().serve, far)
        await near.send_all(b"\x00\x01 nonsense\r\n\r\n")
        assert await near.receive_some(100) == b""


async def test_over_a_real_socket(nursery: trio.Nursery) -> None:
    """The same with a real connection and a stock client."""
    [listener] = await nursery.start(serve, 0, 60)
    port = listener.socket.getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.post("/search", json={"cursor": 41})
    assert answer.json()["cursor"] == 42
    nursery.cancel_scope.cancel()
