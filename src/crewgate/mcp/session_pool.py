"""One MCP session for each branch, for frameworks that call tools from several threads and loops.

The gateway binds a session of MCP to its branch. So two sub-agents cannot share a session, and each
gets one of its own. All sessions live in an event loop in a thread of the pool. In that loop, a
task opens, keeps and closes its session, because anyio requires the same task for all of this.
"""

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.from_thread import BlockingPortal

from crewgate import limits
from crewgate.issuer import SubAgent
from crewgate.mcp.connection import client
from crewgate.mcp.mcp_http_client import TrustedRoot, tls_context

T = TypeVar("T")


class _Session:
    """A session that a task opens, and that ends when somebody sets `end`."""

    def __init__(self) -> None:
        self.client: Any = None
        self.error: Exception | None = None
        self.is_decided, self.end, self.is_over = anyio.Event(), anyio.Event(), anyio.Event()


class SessionPool:
    """The MCP sessions of all branches of a program at one endpoint.

    Use it as a context manager, or call `close`. Threads and event loops may share a pool. A
    session opens with the first call of its branch, and ends with `end` or `close`.

    Args:
        url: The URL of an endpoint of the gateway, such as `https://localhost:8443/mcp/files`.
        ca, socket: As for `client`.

    Raises:
        ConfigurationError: The file `ca` cannot be read, or has no certificate.
    """

    def __init__(
        self, url: str, *, ca: TrustedRoot = None, socket: Path | str | None = None
    ) -> None:
        self.url, self._ca, self._socket = url, tls_context(ca), socket
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._portal: BlockingPortal | None = None
        # Only the thread of the pool uses these.
        self._sessions: dict[str, _Session] = {}
        self._tasks: TaskGroup
        self._is_ending: anyio.Event

    def __repr__(self) -> str:
        return f"<SessionPool of {self.url} with {len(self._sessions)} sessions>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def submit(self, agent: SubAgent, function: Callable[[Any], Awaitable[T]]) -> "Future[T]":
        """Call `function` with the session of a branch, in the loop of the pool.

        To wait in an event loop of asyncio, use `await asyncio.wrap_future(…)`. If the caller
        cancels the future, the pool cancels the call. The future raises the errors of `function`,
        and those of opening the session, such as `MCPError` if the gateway refuses the token.
        """
        return self._started().start_task_soon(self._call, agent, function)

    def end(self, agent: SubAgent) -> None:
        """End the session of a branch, if it has one; wait until the server has read that."""
        portal = self._portal
        if portal is not None:
            with suppress(RuntimeError):  # the pool ends at the same time
                portal.call(self._end, agent.branch)

    def close(self) -> None:
        """End all sessions, and the thread of the pool."""
        with self._lock:
            thread, portal = self._thread, self._portal
            self._thread = self._portal = None
        if thread is not None and portal is not None:
            portal.call(self._finish)
            thread.join()

    def _started(self) -> BlockingPortal:
        with self._lock:
            if self._portal is None:
                started: Future[BlockingPortal] = Future()
                # A program that ends without `close` does not wait for a daemon.
                self._thread = threading.Thread(
                    target=anyio.run, args=(self._serve, started), daemon=True
                )
                self._thread.start()
                self._portal = started.result()
            return self._portal

    async def _serve(self, started: "Future[BlockingPortal]") -> None:
        self._is_ending = anyio.Event()
        async with BlockingPortal() as portal:
            async with anyio.create_task_group() as self._tasks:
                started.set_result(portal)
                await self._is_ending.wait()
                for session in self._sessions.values():
                    session.end.set()
                seconds = limits.mcp_session_end_seconds
                self._tasks.cancel_scope.deadline = anyio.current_time() + seconds
            await portal.stop(cancel_remaining=True)

    async def _finish(self) -> None:
        self._is_ending.set()

    async def _end(self, branch: str) -> None:
        session = self._sessions.pop(branch, None)
        if session is not None:
            session.end.set()
            with anyio.move_on_after(limits.mcp_session_end_seconds):
                await session.is_over.wait()

    async def _call(self, agent: SubAgent, function: Callable[[Any], Awaitable[T]]) -> T:
        session = self._sessions.get(agent.branch)
        if session is None:
            session = self._sessions[agent.branch] = _Session()
            self._tasks.start_soon(self._keep, agent, session)
        await session.is_decided.wait()
        if session.client is None:
            raise session.error or RuntimeError("the session pool was closed")
        return await function(session.client)

    async def _keep(self, agent: SubAgent, session: _Session) -> None:
        try:
            async with client(agent, self.url, ca=self._ca, socket=self._socket) as opened:
                session.client = opened
                session.is_decided.set()
                await session.end.wait()
        except Exception as error:  # noqa: BLE001 - the calls of this branch raise it
            session.error = _cause(error)
        finally:
            session.client = None
            session.is_decided.set()
            session.is_over.set()
            if self._sessions.get(agent.branch) is session:
                del self._sessions[agent.branch]


def _cause(error: Exception) -> Exception:
    """Return the error that ended a session; anyio wraps it in a group for each of its scopes."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
