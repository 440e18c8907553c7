"""Clients that go away from calls whose cost is stated at their end."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hang_ups import hang_up_often
from installation import wait_until
from priced_gateway import Priced, priced

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
    """`on_disconnect = "cancel"`: the server is left as well; what it had answered is guessed."""
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


async def test_those_that_hang_up_lose_nothing(tools: Priced) -> None:
    """At any moment of a priced call: reserved credit returns to zero, and the books agree."""
    calls = [(f"POST {path}", json.dumps(asked).encode()) for path, asked in CALLS]
    await hang_up_often(tools, ["llm.*", "told.*"], calls, seed=12, whole=0.8, patience=0.1)
    assert all(row["burned_micro"] == 0 for row in tools.report())


def test_nothing_is_said_of_it_in_the_log(tools: Priced) -> None:
    """Clients that go are a normal event."""
    log = Path(tools.folder / "serve.log").read_text()
    assert "Traceback" not in log
    assert "a callback of a call failed" not in log
