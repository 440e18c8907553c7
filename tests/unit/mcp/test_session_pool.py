"""A session for each branch, in one thread: who may share it, and how it ends."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from crewgate.mcp import MCPError, SessionPool, session_pool

NOWHERE = "http://127.0.0.1:9/mcp"


def agent(branch: str) -> Any:
    return SimpleNamespace(
        branch=branch, token=lambda: f"a.b.{branch}", has_fresh_token=lambda: True
    )


class Clients:
    """Makes sessions without a server, and notes when they open and close, and in which thread."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.threads: set[int] = set()

    @asynccontextmanager
    async def client(self, agent: Any, url: str, **_: Any) -> AsyncIterator[str]:
        self.notes.append(f"open {agent.branch}")
        self.threads.add(threading.get_ident())
        task = asyncio.current_task()
        try:
            yield agent.branch
        finally:
            assert asyncio.current_task() is task
            self.notes.append(f"close {agent.branch}")


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Clients:
    made = Clients()
    monkeypatch.setattr(session_pool, "client", made.client)
    return made


async def name(client: str) -> str:
    return client


def test_each_branch_has_one_session(clients: Clients) -> None:
    """For blocking callers and those in event loops; after its end, it gets another one."""

    async def several() -> list[str]:
        calls = (pool.submit(agent(each), name) for each in ("a", "b", "a"))
        return await asyncio.gather(*(asyncio.wrap_future(call) for call in calls))

    with SessionPool(NOWHERE) as pool:
        assert pool.submit(agent("a"), name).result() == "a"
        assert asyncio.run(several()) == ["a", "b", "a"]
        pool.end(agent("a"))
        pool.end(agent("c"))
        assert clients.notes == ["open a", "open b", "close a"]
        assert pool.submit(agent("a"), name).result() == "a"
    assert clients.notes[3:4] == ["open a"]
    assert sorted(clients.notes[4:]) == ["close a", "close b"]
    assert len(clients.threads) == 1
    assert threading.get_ident() not in clients.threads


def test_a_call_that_its_caller_cancels_ends(clients: Clients) -> None:
    """So that the gateway can cancel the tool; so does one that runs when the pool closes."""
    ended: list[str] = []
    begun = threading.Semaphore(0)

    async def hang(client: str) -> None:
        begun.release()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(client)

    async def cancel() -> None:
        call = asyncio.wrap_future(pool.submit(agent("a"), hang))
        await asyncio.to_thread(begun.acquire)
        call.cancel()

    with SessionPool(NOWHERE) as pool:
        asyncio.run(cancel())
        left = pool.submit(agent("b"), hang)
        begun.acquire()
    assert left.cancelled()
    assert sorted(ended) == ["a", "b"]


def test_a_session_that_cannot_open_is_the_error_of_its_calls() -> None:
    """With the reason, and not a group of groups; the next call tries again."""
    with SessionPool(NOWHERE) as pool:
        for _ in range(2):
            with pytest.raises(MCPError, match="cannot reach the gateway"):
                pool.submit(agent("a"), name).result()


def test_a_program_ends_without_closing_its_pool() -> None:
    """A person who forgets that must not wait forever."""
    script = (
        "from types import SimpleNamespace as Agent\n"
        "from crewgate.mcp import SessionPool\n"
        "agent = Agent(branch='a', token=lambda: 'a.b.c', has_fresh_token=lambda: True)\n"
        f"print(SessionPool({NOWHERE!r}).submit(agent, None).exception())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert "cannot reach the gateway" in done.stdout, done.stderr
    assert (done.returncode, done.stderr) == (0, "")
