"""Cancels the work of revoked branches at its servers, with the gateway's own credential.

Each endpoint has its own queue and its own tasks, so a server that does not answer delays no other.
A few attempts are made. If none succeeds, health reports it: the work may go on.
"""

import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import NamedTuple

import msgspec
import trio

from crewgate import limits
from crewgate.core import event_stream
from crewgate.core.health import ComponentHealth, degraded, ok
from crewgate.core.http_types import HeaderField
from crewgate.errors import CrewgateError, UpstreamError
from crewgate.gateway.headers import identity
from crewgate.gateway.tool_route import ToolRoute
from crewgate.gateway.upstream_work.registry import Cancellation, UpstreamWork, WorkSearch
from crewgate.metrics import families
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.upstream.buffered_request import BufferedResponse, OwnRequest, send

_log = logging.getLogger(__name__)

# A later attempt may succeed after these; other errors are the server's last word.
_TRANSIENT = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
# The work has ended already, or is unknown.
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE})
# The same as a JSON-RPC error: "invalid params" of MCP; "task not found" and "task not cancelable"
# of A2A.
_GONE_ERRORS = frozenset({-32602, -32001, -32002})
# The same of A2A by HTTP+JSON, and as statuses of gRPC: NOT_FOUND and FAILED_PRECONDITION.
_GONE_REASON = b"TASK_NOT_CANCELABLE"
_GRPC_OK, _GONE_GRPC = b"0", frozenset({b"5", b"9"})


class WorkCanceller:
    """Cancels work in the background, while `run` does."""

    def __init__(self, metrics: ProcessMetrics) -> None:
        self._metrics = metrics
        self._routes: Mapping[str, ToolRoute] = {}
        self._queues: dict[str, _Queue] = {}
        self._nursery: trio.Nursery | None = None
        self._failures: dict[str, _Failure] = {}  # by endpoint

    async def run(self) -> None:
        """Cancel work until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def use(self, routes: Iterable[ToolRoute]) -> None:
        """Send further requests to these endpoints, by the names of their servers."""
        self._routes = {route.server_name: route for route in routes}

    def cancel(self, cancellations: Iterable[Cancellation]) -> None:
        """Cancel work as soon as possible; never waits."""
        if self._nursery is None:
            return
        for each in cancellations:
            queue = self._queues.setdefault(each[0].key.endpoint, _Queue())
            queue.waiting.append(each)
            if queue.running < limits.cancellations_each_max:
                queue.running += 1
                self._nursery.start_soon(self._serve, queue)

    def facts(self, now: float) -> Iterable[ComponentHealth]:
        """Yield whether work went on after its branch was revoked; `now` is the monotonic clock."""
        for endpoint, failure in self._failures.items():
            name = f"cancellation at {endpoint}"
            if now - failure.at >= limits.cancellation_failure_seconds:
                yield ok(name)
                continue
            why = (
                f"{failure.count} tasks or sessions of revoked branches could not be cancelled and "
                f"may go on: {failure.why}"
            )
            yield degraded(name, why, "look for them at the server, and end them there")

    async def _serve(self, queue: "_Queue") -> None:
        try:
            while queue.waiting:
                for work in queue.waiting.popleft():
                    await self._cancel(work)
        finally:
            queue.running -= 1

    async def _cancel(self, work: UpstreamWork) -> None:
        request = work.request
        try:
            if isinstance(request, OwnRequest):
                outcome = await self._attempts(work, request, limits.cancellation_bytes_max)
            else:
                outcome = await self._search(work, request)
        except Exception:  # noqa: BLE001 - the barrier: other work must still be cancelled
            _log.exception("cancelling work at %s failed: internal error", work.key.endpoint)
            outcome = _Outcome("failed", "internal error of the gateway")
        endpoint = work.key.endpoint
        if outcome.result:
            self._metrics.series(families.UPSTREAM_CANCELLATIONS, endpoint, outcome.result).add()
        if outcome.why:
            self._note_failure(endpoint, outcome.why)

    async def _search(self, work: UpstreamWork, search: WorkSearch) -> "_Outcome":
        """Cancel the work that a search finds. The server may not have begun it yet."""
        pause = limits.cancellation_retry_seconds
        for attempt in range(limits.cancellation_attempts_max):
            if attempt:
                await trio.sleep(pause)
                pause *= 2
            outcome = await self._attempts(work, search.request(), search.body_bytes_max)
            if outcome.response is None:
                return outcome
            try:
                found = search.found(outcome.response)
            except CrewgateError as error:
                return _Outcome("failed", str(error))
            if found is not None:
                for each in found:
                    await self._cancel(each)
                break
        return _Outcome("")

    async def _attempts(
        self, work: UpstreamWork, request: OwnRequest, body_bytes_max: int
    ) -> "_Outcome":
        """Send the request until the server answers it."""
        why, pause = "", limits.cancellation_retry_seconds
        for attempt in range(limits.cancellation_attempts_max):
            if attempt:
                await trio.sleep(pause)
                pause *= 2
            route = self._routes.get(work.key.endpoint)
            if route is None:
                return _Outcome("failed", "the configuration has this endpoint no more")
            # The server knows the work as that of this caller.
            ours: list[HeaderField] = [*identity(work.permit.grant), *route.own]
            own = request._replace(fields=(*request.fields, *ours))
            try:
                with trio.fail_after(limits.cancellation_seconds):
                    response = await send(
                        route.pool, work.permit, own, body_bytes_max=body_bytes_max
                    )
            except trio.TooSlowError:
                why = f"no response within {limits.cancellation_seconds:g} s"
                continue
            except UpstreamError as error:
                why = str(error)
                continue
            refusal = _refusal(response)
            if not refusal:
                return _Outcome("cancelled", response=response)
            if response.status == HTTPStatus.METHOD_NOT_ALLOWED:
                # 2025-11-25, "Session Management": the server ends its sessions by itself.
                return _Outcome("refused")
            why = f"the server answered {refusal}"
            is_final = response.status < HTTPStatus.INTERNAL_SERVER_ERROR
            if is_final and response.status not in _TRANSIENT:
                return _Outcome("refused", why)
        return _Outcome("failed", why)

    def _note_failure(self, endpoint: str, why: str) -> None:
        """Remember a failure for health, and log it."""
        now, before = time.monotonic(), self._failures.get(endpoint)
        is_first = before is None or now - before.at >= limits.cancellation_failure_seconds
        count = 1 if before is None or is_first else before.count + 1
        self._failures[endpoint] = _Failure(why, now, count)
        text = "%s: work of a revoked branch could not be cancelled and may go on: %s"
        _log.warning(text, endpoint, why, extra={"subject": endpoint})


class _Queue:
    """The work to cancel at one endpoint, and how many tasks do so."""

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Cancellation] = deque()
        self.running = 0


class _Outcome(NamedTuple):
    """How it went.

    `result` is for the metrics; empty for a search, because the work that it finds has its own.
    `why` says why the work may go on; it is empty if the work does not.
    """

    result: str
    why: str = ""
    response: BufferedResponse | None = None


class _Failure(msgspec.Struct, frozen=True):
    """The failures at one endpoint: why and when the last one was, and how many there are."""

    why: str
    at: float
    count: int


class _RPCError(msgspec.Struct):
    code: int = 0


class _RPCResponse(msgspec.Struct):
    error: _RPCError | None = None


_decode = msgspec.json.Decoder(_RPCResponse).decode


def _refusal(response: BufferedResponse) -> str:
    """Return how the server refused, as its status or JSON-RPC code; "" if the work has ended."""
    status, body = response.status, response.body
    grpc_status = dict(response.headers).get(b"grpc-status", _GRPC_OK)
    if grpc_status != _GRPC_OK:
        return "" if grpc_status in _GONE_GRPC else f"gRPC status {grpc_status.decode('latin-1')}"
    if status == HTTPStatus.BAD_REQUEST and _GONE_REASON in body:
        return ""
    if event_stream.is_stream(dict(response.headers)):
        body = event_stream.last_data(body, limits.cancellation_bytes_max)
    try:
        error = _decode(body).error
    except (ValueError, RecursionError):
        error = None  # such as the empty body of the response to DELETE
    if status in _GONE or (error is not None and error.code in _GONE_ERRORS):
        return ""
    if error is not None:
        return f"error {error.code}"
    return f"status {status}" if status >= HTTPStatus.MULTIPLE_CHOICES else ""
