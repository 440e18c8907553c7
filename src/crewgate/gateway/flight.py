"""A permitted call on its way: to the tool's server, back to the client, to its end and its record.

Whatever happens, the permit is settled or released exactly once, the connection given back or
closed, and one record written. A call is charged as soon as one byte of it has reached the
kernel's socket to the tool, and only then. Judges nothing.
"""

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from crewgate._native.permit import Permit
from crewgate.core import record as audit
from crewgate.core.record import Outcome
from crewgate.core.verdict import Reason
from crewgate.errors import (
    PeerError,
    RequestRefusedError,
    SettledError,
    UpstreamError,
    UpstreamTimeoutError,
)
from crewgate.gateway import refusals
from crewgate.gateway.fields import downstream_fields, passed_fields
from crewgate.gateway.site import Entry
from crewgate.server import Exchange, Field
from crewgate.upstream import Call, Head

if TYPE_CHECKING:
    from crewgate.gateway.forward import Gateway

_CANCEL = 8  # RFC 9113 §7: the stream is no longer wanted
_INTERNAL_ERROR = 2
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_CUT = {Outcome.REVOKED: Reason.BRANCH_REVOKED, Outcome.EXPIRED: Reason.TOKEN_EXPIRED}


class Flight:
    """One call. Made when it is permitted, so that a revocation from then on finds it."""

    def __init__(
        self,
        gateway: "Gateway",
        exchange: Exchange,
        entry: Entry,
        fields: list[Field],
        permit: Permit,
        request: audit.Request,
    ) -> None:
        """`fields` are the client's that go upstream."""
        self.permit = permit
        self.extend_after_ns = 0
        self._gateway = gateway
        self._exchange = exchange
        self._entry = entry
        self._fields = fields
        self._request = request
        self._call: Call | None = None
        self._outcome: Outcome | None = None
        self._bytes_out = 0
        self._streams_events = False
        self._between_events = True
        self._started_ns = time.monotonic_ns()

    def end(self, outcome: Outcome) -> bool:
        """End the call now; the first reason counts. False if there was one before."""
        if self._outcome is not None:
            return False
        self._outcome = outcome
        self._exchange.scope.cancel()
        return True

    async def run(self) -> None:
        """Carry the call to its end."""
        try:
            await self._carry()
        finally:
            self._gateway.live.remove(self)
            if self._outcome is not Outcome.DONE:
                self._say_why()
            self._close()

    async def _carry(self) -> None:
        # Ended or hung up between the verdict and this task's first turn: nothing goes upstream.
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            source, call = self._begin()
            await call.begin(source)
            if not call.sending:
                await self._relay(call)
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._upload, call, source)
                await self._relay(call)
                nursery.cancel_scope.cancel()
        except UpstreamError as error:
            self._fail_upstream(error)
        except RequestRefusedError:  # trailers that pass themselves off as ours, before any byte
            self._outcome = self._outcome or Outcome.REFUSED
            invalid = refusals.KINDS[Reason.INVALID_REQUEST]
            self._gateway.answer(self._exchange, invalid, self._request.id)

    def _begin(self) -> tuple["Exchange | _Upload", Call]:
        exchange, entry = self._exchange, self._entry
        request = exchange.request
        lines = b"%b%bx-crewgate-request: %b\r\n" % (
            self._gateway.identities.lines(self.permit.grant),
            entry.lines,
            audit.request_text(self._request.id).encode(),
        )
        head = Head(request.method, request.target, self._fields, request.length, lines)
        self._call = entry.pool.call(self.permit, head)
        if exchange.complete and not exchange.trailers:
            return exchange, self._call
        return _Upload(exchange, entry), self._call

    async def _upload(self, call: Call, source: "Exchange | _Upload") -> None:
        try:
            await call.send_body(source)
        except PeerError:  # the client has gone, or sent trailers that it must not send
            self.end(Outcome.CLIENT_GONE)

    async def _relay(self, call: Call) -> None:
        """Bring the answer back; what goes wrong with it is said here and raised no further."""
        try:
            await self._download(call)
        except PeerError:
            self._outcome = self._outcome or Outcome.CLIENT_GONE
        except UpstreamError as error:
            self._fail_upstream(error)

    async def _download(self, call: Call) -> None:
        exchange = self._exchange
        await call.receive_head()
        headers = downstream_fields(call.headers)
        self._note_kind(call, headers)
        exchange.start(call.status, headers)
        last = b""
        if call.ended:
            last = call.take()
            self._count(last)
        else:
            while data := await call.read():
                self._count(data)
                await exchange.send(data)
        trailers = call.trailers
        exchange.finish(last, downstream_fields(trailers) if trailers else ())
        self._outcome = self._outcome or Outcome.DONE

    def _count(self, data: bytes) -> None:
        self._bytes_out += len(data)
        if self._streams_events and data:
            self._between_events = data.endswith(_EVENT_ENDS)

    def _note_kind(self, call: Call, headers: Sequence[Field]) -> None:
        """See whether this is a stream: it gets an opening record, and events a last one."""
        if call.ended:
            return
        fields = dict(headers)
        if b"content-length" in fields:
            return
        events = fields.get(b"content-type", b"").lower().startswith(b"text/event-stream")
        self._streams_events = events and b"content-encoding" not in fields
        self._gateway.sink.write(
            audit.opened(
                self._request,
                self.permit.grant,
                self.permit.price,
                status=call.status,
                would=self.permit.would,
            )
        )

    # The ends.

    def _fail_upstream(self, error: UpstreamError) -> None:
        slow = isinstance(error, UpstreamTimeoutError)
        kind = refusals.UPSTREAM_TIMEOUT if slow else refusals.UPSTREAM_FAILED
        self._outcome = self._outcome or Outcome.UPSTREAM_ERROR
        exchange = self._exchange
        if exchange.started:
            exchange.reset(_INTERNAL_ERROR)
        else:
            self._gateway.answer(exchange, kind, self._request.id)

    def _say_why(self) -> None:
        """Tell the client why its call was cut, in whatever way is still open."""
        exchange = self._exchange
        reason = _CUT.get(self._outcome) if self._outcome else None
        if self._outcome is None:
            self._outcome = Outcome.CLIENT_GONE if exchange.gone else Outcome.CANCELLED
        if exchange.done:
            return
        if reason is None:
            exchange.reset(_CANCEL)
        elif not exchange.started:
            self._gateway.answer(exchange, refusals.KINDS[reason], self._request.id)
        elif self._streams_events and self._between_events:
            exchange.finish(refusals.event(refusals.KINDS[reason], self._request.id))
        else:
            exchange.reset(_CANCEL)

    def _close(self) -> None:
        call = self._call
        touched = call is not None and call.touched
        status = call.status if call is not None else 0
        if call is not None:
            call.close()
        permit = self.permit
        # Recorded first, settled after: whatever kills the worker between the two, the call has a
        # record, if only that of its reservation, which the agent burns.
        self._record(status, cost=permit.price if touched and self._is_charged() else 0)
        with contextlib.suppress(SettledError):  # burned in this very moment
            if touched:
                permit.settle()
            else:
                permit.release()

    def _is_charged(self) -> bool:
        """Return False if the agent has burned the reservation, and written the record of that."""
        return self.permit.held or not self.permit.price

    def _record(self, status: int, *, cost: int) -> None:
        permit = self.permit
        self._gateway.sink.write(
            audit.permitted(
                self._request,
                permit.grant,
                audit.End(
                    self._outcome or Outcome.CANCELLED,
                    cost,
                    status,
                    self._exchange.bytes_in,
                    self._bytes_out,
                    (time.monotonic_ns() - self._started_ns) // 1000,
                ),
                remaining_micro=permit.remaining,
                would=permit.would,
            )
        )


class _Upload:
    """The body of a request that has not all arrived, with its trailers as they may go on."""

    def __init__(self, exchange: Exchange, entry: Entry) -> None:
        self._exchange = exchange
        self._entry = entry

    @property
    def complete(self) -> bool:
        return self._exchange.complete

    @property
    def trailers(self) -> Sequence[Field]:
        return passed_fields(self._exchange.trailers, self._entry.fields)

    def take(self) -> bytes:
        return self._exchange.take()

    async def read(self) -> bytes:
        return await self._exchange.read()
