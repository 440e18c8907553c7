"""Remembers the work of one worker's branches at servers, to cancel it when a branch is revoked.

The registry is bounded. If it is full, the crew with the most work loses its oldest: the gateway
then cannot cancel that at the server, and still refuses every use of it.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import msgspec

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.core.sealed_ids import IdKind
from crewgate.upstream.buffered_request import BufferedResponse, OwnRequest


class WorkKey(NamedTuple):
    """Names work: the table key of its branch, its endpoint, and the server's id for it."""

    branch: bytes
    endpoint: str
    kind: IdKind
    id: str


class WorkSearch(Protocol):
    """Finds the work of a call that has not named it yet."""

    body_bytes_max: int

    def request(self) -> OwnRequest:
        """Return what the gateway asks the server, without the credential and the caller."""

    def found(self, response: BufferedResponse) -> "list[UpstreamWork] | None":
        """Return the work that goes on; None if the server does not know the call yet.

        Raises:
            CrewgateError: The response cannot be read.
        """


class UpstreamWork(msgspec.Struct, frozen=True):
    """A task or a session at a server, or a call that may have begun one.

    Attributes:
        key: The kind and the id of the work.
        permit: The permit of the call that began it, which shows when it is revoked.
        request: The message with which the gateway ends it, without the credential and the caller;
            or a search, if the call has not named its work yet.
        session: The session that a task belongs to; empty if it belongs to none.
        expires: When the server may have forgotten it, on the monotonic clock in seconds.
    """

    key: WorkKey
    permit: Permit
    request: OwnRequest | WorkSearch
    expires: float
    session: str = ""

    def __repr__(self) -> str:
        """Omit the id, with which the work can be used at the server."""
        return f"<UpstreamWork {self.key.kind.name} at {self.key.endpoint}>"


def expires_at(now: float, ttl_ms: float | None) -> float:
    """Return when the server may have forgotten work; None or too long a `ttl_ms` is bounded."""
    most_ms = limits.upstream_work_seconds_max * 1000
    return now + (most_ms if ttl_ms is None else min(max(ttl_ms, 0), most_ms)) / 1000


# Work to cancel in this order: the tasks of a session before the session.
Cancellation = tuple[UpstreamWork, ...]


class WorkRegistry:
    """The work of one worker. `cancel` ends it at its server, and never waits."""

    def __init__(
        self,
        cancel: Callable[[Iterable[Cancellation]], None],
        on_first: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_first` is called when work is added and there was none."""
        self._cancel = cancel
        self._on_first = on_first
        self._by_branch: dict[bytes, OrderedDict[WorkKey, UpstreamWork]] = {}
        self._by_crew: dict[str, OrderedDict[WorkKey, UpstreamWork]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, work: UpstreamWork) -> None:
        """Remember work, or replace what is remembered of it."""
        key, crew = work.key, work.permit.grant.caller
        self.remove(key)
        if not self._count:
            self._on_first()
        of_branch = self._by_branch.get(key.branch, ())
        if len(of_branch) >= limits.upstream_work_each_max:
            self.remove(next(iter(of_branch)))
        elif self._count >= limits.upstream_work_max:
            most = max(self._by_crew, key=lambda name: len(self._by_crew[name]))
            self.remove(next(iter(self._by_crew[most])))
        self._by_branch.setdefault(key.branch, OrderedDict())[key] = work
        self._by_crew.setdefault(crew, OrderedDict())[key] = work
        self._count += 1

    def remove(self, key: WorkKey) -> None:
        """Forget work that has ended, if it is remembered."""
        of_branch = self._by_branch.get(key.branch)
        work = None if of_branch is None else of_branch.pop(key, None)
        if of_branch is None or work is None:
            return
        self._count -= 1
        if not of_branch:
            del self._by_branch[key.branch]
        crew = work.permit.grant.caller
        of_crew = self._by_crew[crew]
        del of_crew[key]
        if not of_crew:
            del self._by_crew[crew]

    def cancel_revoked(self) -> int:
        """Cancel all work whose permit is revoked; return how much."""
        return self._end([each for each in self._every() if each.permit.revoked])

    def cancel_branch(self, branch: bytes) -> int:
        """Cancel the work of a branch, by its table key; return how much."""
        return self._end(list(self._by_branch.get(branch, {}).values()))

    def sweep(self, now: float) -> None:
        """Forget the work that its server may have forgotten; `now` is the monotonic clock."""
        for work in [each for each in self._every() if now >= each.expires]:
            self.remove(work.key)

    def _every(self) -> Iterable[UpstreamWork]:
        for of_branch in self._by_branch.values():
            yield from of_branch.values()

    def _end(self, ended: list[UpstreamWork]) -> int:
        for work in ended:
            self.remove(work.key)
        if ended:
            self._cancel(_in_order(ended))
        return len(ended)


def _in_order(works: Iterable[UpstreamWork]) -> list[Cancellation]:
    """Return each piece of work alone, but a session with its tasks, which come first."""
    found: list[Cancellation] = []
    sessions: dict[tuple[bytes, str, str], list[UpstreamWork]] = {}
    for work in works:
        branch, endpoint, kind, work_id = work.key
        is_session = kind is IdKind.MCP_SESSION
        session = work_id if is_session else work.session
        if not session:
            found.append((work,))
            continue
        of_session = sessions.setdefault((branch, endpoint, session), [])
        of_session.insert(len(of_session) if is_session else 0, work)
    return [*found, *map(tuple, sessions.values())]
