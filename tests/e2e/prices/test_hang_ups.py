"""Clients that go away from calls whose cost is stated at their end."""

import json
import random
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from installation import COMMAND, wait_until
from priced import Priced, priced

HANG_UPS = 1000
AT_ONCE = 40
ASKED = {"model": "m-slow", "max_tokens": 20, "stream": True, "messages": []}
CHUNKS = {"chunks": ["x" * 200] * 10, "pause": 0.002}
CALLS: tuple[tuple[str, Any], ...] = (
    ("/v1/chat/completions", ASKED),
    ("/steps/chat/completions", ASKED),
    ("/cancelled/chat/completions", ASKED),
    ("/v1/messages", {**ASKED, "model": "m-2"}),
    ("/told/flow", CHUNKS),
    ("/told/trailer", {**CHUNKS, "trailers": {"x-units": "5"}}),
    ("/told/asked", {"pages": 2, "input": ["a"]}),
)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Priced]:
    with priced(tmp_path_factory.mktemp("hang-ups")) as found:
        yield found


def test_an_answer_is_heard_to_its_end_for_what_it_cost(tools: Priced) -> None:
    """A client that leaves early pays what the model's server states, and not what it had seen."""
    token = tools.mint("2")
    _leave(tools, token, "/v1/chat/completions", {**ASKED, "max_tokens": 60})
    wait_until(lambda: tools.calls(token))
    (call,) = tools.calls(token)
    assert (call["outcome"], call["tokens_out"]) == ("client-gone", 60)
    wait_until(lambda: tools.spent(token) == call["cost_micro"])


def test_or_it_is_broken_off_and_what_had_come_is_paid(tools: Priced) -> None:
    """`hang_up = "cancel"`: the server is left as well; what it had answered is guessed."""
    token = tools.mint("2")
    _leave(tools, token, "/cancelled/chat/completions", {**ASKED, "max_tokens": 2000})
    wait_until(lambda: tools.calls(token))
    (call,) = tools.calls(token)
    assert (call["outcome"], "tokens_out" in call) == ("client-gone", False)
    assert 0 < call["cost_micro"] < 500_000
    wait_until(lambda: tools.spent(token) == call["cost_micro"])


def _leave(tools: Priced, token: str, path: str, body: Any) -> None:
    """Read the first of a stream, and go."""
    with tools.stream(token, path, body) as answer:
        for _, _ in zip(range(3), answer.iter_raw(), strict=False):
            pass


async def test_a_thousand_that_hang_up_lose_nothing(tools: Priced) -> None:
    """At any moment of a priced call: reserved credit returns to zero, and the books agree."""
    article = tools.orchestrator()
    run = article.start_run(credits="900", tools=["llm.*", "told.*"])
    agents = [
        article.spawn(role=f"r{n}", parent=run, tools=["llm.*", "told.*"], credits="200")
        for n in range(4)
    ]
    tokens = [each.token() for each in (run, *agents)]
    chance, limiter = random.Random(12), trio.CapacityLimiter(AT_ONCE)

    async def one() -> None:
        async with limiter:
            await _hang_up(tools, chance.choice(tokens), chance)

    async with trio.open_nursery() as nursery:
        for _ in range(HANG_UPS):
            nursery.start_soon(one)
    await trio.to_thread.run_sync(lambda: wait_until(lambda: _agrees(tools), 60))
    await trio.to_thread.run_sync(lambda: wait_until(lambda: not _reserved(tools), 60))
    assert _agrees(tools)
    assert all(row["burned_micro"] == 0 for row in tools.report())
    assert tools.ask("ledger", "check") == {"ok": True, "findings": []}
    rows = tools.ask("ledger", "report", "--by", "tool")["rows"]
    assert sum(row["calls"] for row in rows) > HANG_UPS // 4


async def _hang_up(tools: Priced, token: str, chance: random.Random) -> None:
    context = ssl.create_default_context(cafile=str(tools.folder / "certs" / "ca.pem"))
    path, asked = chance.choice(CALLS)
    body = json.dumps(asked).encode()
    request = b"POST %b HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %b\r\n" % (
        path.encode(),
        token.encode(),
    )
    request += b"content-length: %d\r\n\r\n%b" % (len(body), body)
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", tools.port, ssl_context=context)
    length = len(request) if chance.random() < 0.8 else chance.randrange(1, len(request))
    await stream.send_all(request[:length])
    with trio.move_on_after(chance.uniform(0.0, 0.1)):
        while await stream.receive_some(65_536):
            pass
    stream.transport_stream.socket.close()


def _reserved(tools: Priced) -> int:
    rows = tools.ask("ledger", "report", "--by", "branch")["rows"]
    return sum(row["reserved_micro"] + row["leased_micro"] for row in rows)


def _agrees(tools: Priced) -> bool:
    command = [*COMMAND, "ledger", "reconcile", "-c", str(tools.file)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_nothing_is_said_of_it_in_the_log(tools: Priced) -> None:
    """Clients that go are a normal event."""
    log = Path(tools.folder / "serve.log").read_text()
    assert "Traceback" not in log
    assert "could not be brought on" not in log
