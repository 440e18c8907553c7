"""A call in flight for which the gateway asks several servers of a group, and answers itself."""

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple, TypeVar

import trio
from msgspec import structs

from crewgate._datapath.in_flight import InFlightCall
from crewgate._native.permit import Permit
from crewgate.core.audit import record_builder
from crewgate.core.audit.digest_texts import EXEMPT_CALL
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import CallEnd, CallOutcome
from crewgate.core.credits import CREDITS_LEFT, CREDITS_USED, format_credits
from crewgate.core.http_types import HeaderField
from crewgate.gateway import cors
from crewgate.gateway.call.call_metrics import UNKNOWN
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.termination import send_termination
from crewgate.gateway.call.undecided_call import UndecidedCall
from crewgate.gateway.headers import nonce_fields

_T = TypeVar("_T")


class GroupReply(NamedTuple):
    """The response to the client."""

    status: int
    headers: list[HeaderField]
    body: bytes


class FanOutCall(InFlightCall):
    """A call in flight, which a revocation ends. It costs nothing."""

    def __init__(
        self,
        services: CallServices,
        pending: UndecidedCall,
        permit: Permit,
        group: str,
        method: str,
    ) -> None:
        """`method` is the one of the protocol, for the audit."""
        self.permit = permit
        self.peer = pending.exchange.peer
        self._services = services
        self._pending = pending
        self._info = structs.replace(pending.described, tool=group, method=method, metric_tool="")
        self._scope = trio.CancelScope()
        self._outcome: CallOutcome | None = None
        self._started_ns = time.monotonic_ns()

    def end(self, outcome: CallOutcome) -> bool:
        """End the call because of `outcome`; False if it had ended."""
        if self._outcome is not None:
            return False
        self._outcome = outcome
        self._scope.cancel()
        return True

    async def answer(self, work: Callable[[], Awaitable[GroupReply]]) -> None:
        """Send the client what `work` returns, and record the call."""
        status = size = 0
        try:
            reply = await self._run(work)
            if reply is not None:
                status, size = reply.status, len(reply.body)
                if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    self._outcome = CallOutcome.UPSTREAM_ERROR
                self._respond(reply)
        finally:
            self._record(status, size)

    async def prepare(self, work: Callable[[], Awaitable[_T]]) -> _T | None:
        """Return what `work` returns; None if the call has ended before. Another one records it."""
        try:
            return await self._run(work)
        finally:
            self.permit.release()

    async def _run(self, work: Callable[[], Awaitable[_T]]) -> _T | None:
        self._services.in_flight.add(self)
        found = None
        try:
            with self._scope:
                found = await work()
            if self._outcome is None:
                self._outcome = CallOutcome.DONE
                return found
        except trio.Cancelled:
            self._outcome = self._outcome or CallOutcome.CLIENT_GONE
            raise
        finally:
            self._outcome = self._outcome or CallOutcome.UPSTREAM_ERROR
            self._services.in_flight.remove(self)
        pending = self._pending
        send_termination(
            self._outcome,
            pending.exchange,
            pending.routes,
            self._info.id,
            self.permit.grant,
            is_touched=False,
        )
        return None

    def _respond(self, reply: GroupReply) -> None:
        exchange, entry = self._pending.exchange, self._pending.entry
        headers = [
            *reply.headers,
            (CREDITS_USED, format_credits(0).encode()),
            (CREDITS_LEFT, format_credits(self.permit.branch_unspent_micro).encode()),
            *nonce_fields(exchange.presenter),
        ]
        if entry is not None and entry.cors is not None:
            headers = cors.shared(entry.cors, exchange.request, headers)
        exchange.respond(reply.status, headers, reply.body)

    def _record(self, status: int, size: int) -> None:
        services, permit, info = self._services, self.permit, self._info
        outcome = self._outcome or CallOutcome.UPSTREAM_ERROR
        now = time.monotonic_ns()
        end = CallEnd(
            outcome,
            0,
            status,
            self._pending.exchange.bytes_in,
            size,
            (now - self._started_ns) // 1000,
            # Rules on branches do not compare what the gateway asks several servers.
            call_digest=EXEMPT_CALL if permit.call_digest else "",
        )
        record = record_builder.permitted(
            info,
            permit.grant,
            end,
            remaining_micro=permit.lease_remaining_micro,
            would=permit.observed_reason,
        )
        line = encode(record)
        services.settlements.add(line, permit, 0)
        crew = permit.grant.caller
        series = services.call_metrics.series_of(info, crew, outcome, "", status)
        lasted, verdict = now - info.arrived_ns, self._started_ns - info.arrived_ns
        services.settlements.calls.add(series, len(line), lasted, UNKNOWN, verdict, 0, 0, 0)
