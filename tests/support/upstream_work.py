"""Work at a server as a worker remembers it, and a pool that answers as a test says."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from gateway_world import BRANCH, FakePermit, grant_of

from crewgate.core.sealed_ids import IdKind
from crewgate.errors import UpstreamError
from crewgate.gateway.upstream_work.registry import UpstreamWork, WorkKey
from crewgate.upstream.buffered_request import OwnRequest
from crewgate.upstream.interfaces import RequestHead


def work(
    work_id: str,
    permit: FakePermit | None = None,
    *,
    kind: IdKind = IdKind.MCP_TASK,
    endpoint: str = "files",
    session: str = "",
    expires: float = 100.0,
) -> UpstreamWork:
    """A task, or a session, of the branch of the permit."""
    permit = permit or FakePermit(grant_of(BRANCH), 0)
    key = WorkKey(permit.grant.branch_key, endpoint, kind, work_id)
    request = OwnRequest(b"POST", b"/mcp", ((b"x-id", work_id.encode()),), work_id.encode())
    return UpstreamWork(key, permit, request, expires, session)  # type: ignore[arg-type]


class FakeStream:
    """A stream whose response is there at once; None never comes."""

    def __init__(self, response: tuple[int, list[tuple[bytes, bytes]], bytes] | None) -> None:
        self.released = False
        status, headers, self._body = response or (0, [], b"")
        self.answer: Any = SimpleNamespace(
            status=status,
            headers=headers,
            trailers=[],
            complete=response is not None,
            take=self._take,
        )

    def _take(self) -> bytes:
        data, self._body = self._body, b""
        return data

    def begin(self, head: RequestHead, body: bytes, *, ends: bool) -> bool:
        return ends

    def release(self) -> None:
        self.released = True


Answer = tuple[int, Sequence[tuple[bytes, bytes]], bytes] | UpstreamError | None


class FakePool:
    """Answers each request by `answer(body)`; `sent` has the bodies, `running` how many at once."""

    def __init__(self, answer: Callable[[bytes], Answer]) -> None:
        self.sent: list[bytes] = []
        self.heads: list[RequestHead] = []
        self.streams: list[FakeStream] = []
        self._answer = answer

    def start(self, permit: object, caller: Any) -> None:
        body = caller._request.body
        self.sent.append(body)
        found = self._answer(body)
        if isinstance(found, UpstreamError):
            caller.failed(found)
            return
        stream = FakeStream(found)  # type: ignore[arg-type]
        stream.begin = self._begin  # type: ignore[method-assign]
        self.streams.append(stream)
        caller.begun(stream)
        if found is not None:
            caller.progressed()

    def _begin(self, head: RequestHead, body: bytes, *, ends: bool) -> bool:
        self.heads.append(head)
        return ends

    @property
    def running(self) -> int:
        return sum(not stream.released for stream in self.streams)
