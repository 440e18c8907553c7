"""The sub-agents tell each answer as it came, and do not outlive what started them."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import trio
from trio.testing import MockClock

from crewgate import limits
from crewgate.ca.certificates import make_root
from crewgate.demo import agents
from crewgate.demo.agents import SEARCH, SUMMARY, AgentEvent, DemoAgent
from crewgate.issuer import ProofKey

PROBLEM = {"type": "https://crewgate.dev/problems/credits-exhausted", "status": 403}


class Chunks(httpx.AsyncByteStream):
    """A body that has not been read yet."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.data


class Answers(httpx.AsyncBaseTransport):
    """A gateway that answers from a script, and remembers what it was asked."""

    def __init__(self, *script: httpx.Response | httpx.HTTPError) -> None:
        self.script = list(script)
        self.asked: list[tuple[str, object]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The next answer; the last one for ever."""
        body = json.loads(await request.aread())
        self.asked.append((request.url.path, body))
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, httpx.HTTPError):
            raise answer
        content = Chunks(await answer.aread())
        return httpx.Response(answer.status_code, headers=answer.headers, stream=content)


def agent(gateway: httpx.AsyncBaseTransport) -> tuple[DemoAgent, list[AgentEvent]]:
    """An agent before that gateway, and what it says."""
    said: list[AgentEvent] = []
    client = httpx.AsyncClient(transport=gateway, base_url="https://gateway")
    return DemoAgent(client, said.append), said


def refusal() -> httpx.Response:
    """A problem document."""
    return httpx.Response(403, json=PROBLEM, headers={"content-type": "application/problem+json"})


async def test_the_loop_follows_the_cursor_and_does_not_stop_when_refused() -> None:
    """It asks for page after page, then for the same page again and again."""
    pages = [httpx.Response(200, json={"partial": True, "cursor": n}) for n in (1, 2)]
    gateway = Answers(*pages, refusal())
    worker, said = agent(gateway)
    await agents.collector(worker)
    cursors = [body["cursor"] for _, body in gateway.asked if isinstance(body, dict)]
    assert cursors == [0, 1, *[2] * (limits.demo_loop_calls - 2)]
    assert [one.admitted for one in said[:3]] == [True, True, False]
    assert (said[-1].status, said[-1].reason) == (403, "credits-exhausted")


async def test_the_incident_asks_for_one_page_again_and_again() -> None:
    """Whatever the page says, and whether or not it is refused."""
    gateway = Answers(httpx.Response(200, json={"partial": True, "cursor": 1}), refusal())
    worker, said = agent(gateway)
    await agents.researcher(worker)
    assert {body["cursor"] for _, body in gateway.asked if isinstance(body, dict)} == {0}
    assert len(said) == limits.demo_same_page_calls


async def test_no_answer_is_told_as_one() -> None:
    """A broken connection is a failed call, not the end of the agent."""
    worker, said = agent(Answers(httpx.ConnectError("refused")))
    await worker.call(SEARCH, {})
    assert (said[0].status, said[0].reason, said[0].admitted) == (0, "ConnectError", False)


@pytest.mark.parametrize("content", [b"not JSON", b"[1]", b""])
async def test_an_answer_that_is_no_object_is_still_an_answer(content: bytes) -> None:
    """What the tool sends does not matter to who may call it."""
    worker, said = agent(Answers(httpx.Response(200, content=content)))
    _, answer = await worker.call(SEARCH, {})
    assert answer == {}
    assert said[0].admitted


def busy() -> httpx.Response:
    """A gateway whose ledger is slow."""
    return httpx.Response(503, headers={"retry-after": "1"})


@pytest.mark.parametrize(
    ("times", "status"), [(limits.demo_again_max, 200), (limits.demo_again_max + 1, 503)]
)
async def test_who_is_told_to_come_again_does_so(
    autojump_clock: MockClock, times: int, status: int
) -> None:
    """After the time that it was told, a few times; only the last answer counts."""
    gateway = Answers(*[busy()] * times, httpx.Response(200, json={}))
    worker, said = agent(gateway)
    await worker.call(SEARCH, {})
    assert [one.status for one in said] == [status]
    assert trio.current_time() == limits.demo_again_max
    assert len(gateway.asked) == limits.demo_again_max + 1
    streaming, heard = agent(Answers(busy(), httpx.Response(200, content=b"data: x\n\n")))
    await streaming.listen(SUMMARY, {})
    assert [one.status for one in heard] == [200, 200]


async def test_the_fact_checker_goes_on_after_its_stream(autojump_clock: MockClock) -> None:
    """First the stream, from its opening to its last byte; then calls, dead or not."""
    gateway = Answers(httpx.Response(200, content=b"data: x\n\n"), refusal())
    worker, said = agent(gateway)
    await agents.fact_checker(worker)
    assert [one.what for one in said[:2]] == ["opened", "ended"]
    assert said[0].at_ns <= said[1].last_byte_ns <= said[1].at_ns
    assert [path for path, _ in gateway.asked] == [SUMMARY, *[SEARCH] * limits.demo_revoked_calls]


@pytest.mark.parametrize(
    ("tail", "how"),
    [
        (b"", "complete"),
        (b"data: sentence 1\n\n", "complete"),
        (
            b'data: x\n\nevent: error\ndata: {"type":"https://x/problems/branch-revoked"}\n\n',
            "error event branch-revoked",
        ),
        (b"event: error\ndata: oops\n\n", "error event"),
        (b"event: error\ndata: [1]\n\n", "error event"),
    ],
)
async def test_a_stream_that_was_not_reset_says_how_it_ended(tail: bytes, how: str) -> None:
    """A terminal event is told from a summary that was complete."""
    worker, said = agent(Answers(httpx.Response(200, content=tail)))
    await worker.listen(SUMMARY, {})
    assert said[-1].reason == how


async def test_the_drafter_scrapes_now_and_then(autojump_clock: MockClock) -> None:
    """Its embedding calls are never held up by the refusals."""
    worker, said = agent(Answers(httpx.Response(200, json={})))
    await agents.drafter(worker)
    paths = [one.path for one in said]
    assert paths.count(agents.EMBEDDINGS) == limits.demo_sibling_calls
    assert paths.count(SEARCH) == limits.demo_sibling_calls // limits.demo_scrape_every


def test_an_agent_ends_with_its_standard_input(tmp_path: Path) -> None:
    """It begins when told; when the orchestrator dies the pipe closes, and its process ends."""
    (tmp_path / "token").write_text("none")
    command = [sys.executable, "-m", "crewgate.demo.agents", "publisher"]
    command += ["--url", "https://127.0.0.1:9", "--ca", str(tmp_path / "ca.pem")]
    command += ["--token-file", str(tmp_path / "token"), "--key-file", str(tmp_path / "key")]
    ProofKey.generate().write(tmp_path / "key")
    (tmp_path / "ca.pem").write_bytes(make_root(datetime.now(UTC)).certificate_pem)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["what"] == "ready"
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["reason"] == "ConnectError"
        _, _ = process.communicate()
    assert process.returncode == 0
    assert not (tmp_path / "key").exists()  # only its memory had the key
