"""Reads what a call costs in its response, and pays for the response as it arrives.

If a response is paid for in steps, no byte of it is passed on before credit for it is reserved, and
the response is cut where the credit ends. If its cost is stated at its end, a call whose client has
gone can be read to that end. The meter knows the tariff; this module knows the permit and the call.
"""

import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from crewgate import limits
from crewgate._datapath.body_relay import BodyRelay
from crewgate._native.permit import Permit
from crewgate.core.audit.records import CallOutcome
from crewgate.core.credits import (
    CREDITS_LEFT,
    CREDITS_RESERVED,
    CREDITS_USED,
    format_credits,
)
from crewgate.core.http_types import HeaderField
from crewgate.core.pricing.mcp_result import ResultState, UnfinishedCalls
from crewgate.core.pricing.meter import CostMeter, FinalCharge, PricedChunk
from crewgate.core.verdict import Denial
from crewgate.errors import UnusableResponseError
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.mid_call_top_up import MidCallTopUp
from crewgate.upstream.interfaces import IncomingResponse

# Of all branches that this process, which is one worker, serves.
_unfinished = UnfinishedCalls()

if TYPE_CHECKING:
    from crewgate.gateway.call.proxied_call import ProxiedCall


class ResponseMetering:
    """The metering of one call. Amounts are micro-credits."""

    __slots__ = (
        "_bill",
        "_cancel_reading",
        "_chunks",
        "_drawn_for_overrun",
        "_has_begun",
        "_has_ended",
        "_is_free",
        "_kept_body",
        "_pending_outcome",
        "_permit",
        "_read_on_bytes",
        "_reads_on",
        "_refusal",
        "_services",
        "_tool",
        "_top_up",
        "meter",
    )

    def __init__(
        self,
        services: CallServices,
        permit: Permit,
        meter: CostMeter,
        kept_body: bytes | None,
        tool: str = "",
    ) -> None:
        """`kept_body` is the client's; it counts against the worker's memory while it is kept.

        `tool` is the id of what the call uses.
        """
        self.meter = meter
        self._services = services
        self._permit = permit
        self._kept_body = kept_body
        self._tool = tool
        self._is_free: bool | None = None  # for an unfinished call; None: not known
        self._top_up = MidCallTopUp(services, permit)
        self._chunks: deque[PricedChunk] = deque()  # arrived, and not paid for yet
        self._has_begun = False  # the meter has seen the response's head
        self._has_ended = False  # the meter has seen the response's end
        self._refusal: CallOutcome | None = None  # why the last draw failed
        self._reads_on = False  # the client has gone, and the response is read to its end
        self._read_on_bytes = 0  # of the response, since the client has gone
        self._cancel_reading: Callable[[], None] | None = None  # the deadline of that
        self._bill = FinalCharge(0)
        # The outcome of a call that has ended, while more than its reservation has to be paid.
        self._pending_outcome: CallOutcome | None = None
        self._drawn_for_overrun = 0  # draws

    @property
    def holds_back(self) -> bool:
        """Whether some of the response has arrived and is not paid for."""
        return bool(self._chunks)

    @property
    def overrun(self) -> int:
        """What the call has cost beyond its bound, in micro-credits; known once it has ended."""
        return self._bill.overrun

    @property
    def denial(self) -> Denial | None:
        """What the ledger said when credit was exhausted."""
        denial = self._top_up.denial
        return None if denial is None else self._services.authorizer.explained(denial)

    # The response.

    def relay(self, call: "ProxiedCall") -> None:
        """Have `call` pass on what is paid for; ask for credit for the rest. PeerError."""
        body = call.response.body
        self._count_unread(body)
        if self._top_up.asking and self._chunks:
            return
        if self._reads_on:
            self._read_on(call)
        elif call.exchange.started or self._pays_for_first(call):
            call.response.relay(call)
        if self._chunks and not self._top_up.asking and not call.over:
            self._draw_for_next(call, self._chunks[0].due - self._permit.price_micro)
        if body.is_open:
            body.bytes_allowed = self._payable_unread()

    def _count_unread(self, body: BodyRelay) -> None:
        if size := body.take_unread():
            self.meter.count_unread(size)

    def _payable_unread(self) -> int:
        """Return how many more bytes may pass unread, because `_pays_for` would only say True."""
        if self._chunks:
            return 0
        if not self._gates:
            return self.meter.unread_bytes(sys.maxsize)
        tariff, price = self.meter.tariff, self._permit.price_micro
        may_grow = self.meter.grows and price + tariff.step <= tariff.max_cost
        return self.meter.unread_bytes(price - tariff.step // 2 if may_grow else price)

    def take(self, response: IncomingResponse) -> bytes:
        """Return what has arrived of the response's body and is paid for."""
        self._read(response)
        return self._take_paid()

    def _pays_for_first(self, call: "ProxiedCall") -> bool:
        """Return whether the response may begin; if nothing is paid for, it is refused instead."""
        response = None if call.stream is None else call.stream.answer
        if response is None or not response.status:
            return True
        self._read(response)
        if self._chunks:
            return self._pays_for(self._chunks[0].due)
        # The head may come long before what costs; a stream of events can still be cut later.
        return response.complete or self.meter.streams or not (self.meter.grows and self._gates)

    def _read(self, response: IncomingResponse) -> None:
        if not self._has_begun:
            self._has_begun = True
            self.meter.begin(response.status, response.headers)
        data = response.take()
        if data:
            self._chunks.extend(self.meter.feed(data))
        if response.complete and not self._has_ended:
            self._has_ended = True
            self._chunks.extend(self.meter.end(response.trailers))

    def _take_paid(self) -> bytes:
        chunks, paid = self._chunks, []
        while chunks and self._pays_for(chunks[0].due):
            paid.append(chunks.popleft().data)
        if paid:
            self._top_up.rest()
        return b"".join(paid)

    def _pays_for(self, due: int) -> bool:
        """Return whether `due` is reserved, or can be taken from the lease at once."""
        if not self._gates:
            return True
        tariff, price = self.meter.tariff, self._permit.price_micro
        if due <= price:
            is_near = price - due < tariff.step // 2 and price + tariff.step <= tariff.max_cost
            if is_near and self.meter.grows:
                self._permit.grow(tariff.step)
            return True
        if not self.meter.grows or due > tariff.max_cost:
            return False
        more = min(max(tariff.step, due - price), tariff.max_cost - price)
        return self._permit.grow(more) or self._permit.grow(due - price)

    @property
    def _gates(self) -> bool:
        """Whether the response is held back until it is paid for. In observe mode nothing is."""
        if self._permit.in_observe_mode:
            return False
        return self.meter.grows or self.meter.tariff.counts_answer

    def _draw_for_next(self, call: "ProxiedCall", more: int) -> None:
        """Draw credit for the next chunk; nothing more is read of the response meanwhile."""
        tariff, left = self.meter.tariff, self.meter.tariff.max_cost - self._permit.price_micro
        if self._refusal is None and self._top_up.is_late:
            self._refusal = self._top_up.why_late
        is_stuck = not self._permit.has_reservation or more > left or not self.meter.grows
        if self._refusal is not None or is_stuck:
            self.end(call, self._refusal or CallOutcome.EXHAUSTED)
            return
        if call.stream is not None:
            call.stream.pause()
        most = min(max(tariff.step, more), left)
        self._top_up.ask(more, most, partial(self._on_drawn, call))

    def _on_drawn(self, call: "ProxiedCall", refusal: CallOutcome | None) -> None:
        """Go on with the credit that was drawn, or end the call because of `refusal`."""
        self._refusal = refusal
        if call.stream is not None:
            call.stream.resume()
        call.progressed()
        self._refusal = None

    # What the client is told.

    def release_body(self) -> None:
        """Drop the request's body: the call is not tried again."""
        self._kept_body = None

    def passed_headers(self, headers: list[HeaderField]) -> list[HeaderField]:
        """Return the response's headers for the client.

        A response that loses its usage event is shorter than its server says.
        """
        if not self.meter.hides_usage:
            return headers
        return [field for field in headers if field[0] != b"content-length"]

    def first_headers(self, *, ends: bool) -> list[HeaderField]:
        """Return what the head says of credit; the final cost if the head `ends` the response."""
        if ends and (last := self.final_headers()):
            return last
        name = CREDITS_RESERVED if self.meter.tariff.reads_answer else CREDITS_USED
        return [
            _credit_header(CREDITS_LEFT, self._permit.branch_unspent_micro),
            _credit_header(name, self._permit.price_micro),
        ]

    def final_headers(self) -> list[HeaderField]:
        """Return the cost as it turned out; nothing if the head has said it."""
        if not self.meter.tariff.reads_answer:
            return []
        permit = self._permit
        self._charge_overrun(CallOutcome.DONE)
        cost = self._bill_for(CallOutcome.DONE).cost
        # What the settlement will return.
        unused = permit.price_micro - cost if permit.has_reservation else 0
        return [
            _credit_header(CREDITS_LEFT, permit.branch_unspent_micro + unused),
            _credit_header(CREDITS_USED, cost),
        ]

    # The client goes.

    def reads_on(self, call: "ProxiedCall") -> bool:
        """Go on without the client if the response's end states the cost; False to end the call."""
        stream, tariff = call.stream, self.meter.tariff
        is_wanted = tariff.on_disconnect == "drain" and tariff.reads_answer
        if not is_wanted or call.over or self._reads_on or stream is None or call.is_uploading:
            return False
        self._reads_on = True
        call.ignore_client()
        self._cancel_reading = self._services.background_tasks.later(
            limits.drain_answer_seconds_max, partial(self.end, call, CallOutcome.CLIENT_GONE)
        )
        stream.resume()
        self.relay(call)
        return True

    def _read_on(self, call: "ProxiedCall") -> None:
        stream = call.stream
        if stream is None or call.over or not stream.answer.status:
            return
        try:
            size, is_whole = call.response.drop(call, stream)
        except UnusableResponseError:
            size, is_whole = 0, True
        self._read_on_bytes += size
        if is_whole or self._read_on_bytes > limits.drain_bytes_max:
            self.end(call, CallOutcome.CLIENT_GONE)

    # The end.

    def end(self, call: "ProxiedCall", outcome: CallOutcome) -> None:
        """Finish `call`, or first draw the credit for what it has cost beyond its reservation.

        Only a response that was read to its end is waited for. Any other end is immediate: it takes
        what the lease has, and the rest is reported as an overrun.
        """
        if call.over:
            return
        self._count_unread(call.response.body)
        is_read = outcome is CallOutcome.DONE or (
            outcome is CallOutcome.CLIENT_GONE and self._reads_on
        )
        if self._pending_outcome is not None and is_read:
            return
        if is_read and not self._top_up.asking and self._charge_overrun(outcome):
            self._pending_outcome = outcome
            call.release_stream()
            self._chunks.clear()
            self._draw_for_overrun(call, self._permit.branch_unspent_micro)
        else:
            self._finish(call, self._pending_outcome or outcome)

    def final_cost(self, request_id: bytes, outcome: CallOutcome) -> int:
        """Return what the call costs, and report what that is beyond its bound."""
        self._bill = self._bill_for(outcome)
        if self.meter.result is ResultState.COMPLETE and not self.meter.tariff.charges_unfinished:
            _unfinished.complete(self._permit.grant.branch_key, self._tool)
        if self._bill.overrun and not self._permit.in_observe_mode:
            self._services.background_tasks.report_overrun(
                request_id, self._permit.grant, self._bill.overrun
            )
        return self._bill.cost

    def _finish(self, call: "ProxiedCall", outcome: CallOutcome) -> None:
        if self._charge_overrun(outcome):
            self._grow_by_up_to(self._bill_for(outcome).overrun)
        call.finish(outcome)
        self._top_up.stop()
        self._kept_body = None
        self._chunks.clear()
        self.meter.close()
        cancel, self._cancel_reading = self._cancel_reading, None
        if cancel is not None:
            cancel()

    def _charge_overrun(self, outcome: CallOutcome) -> bool:
        """Take an overrun from the lease; return True if the lease has not enough for it."""
        permit = self._permit
        if (
            self.meter.tariff.on_overrun != "charge"
            or permit.in_observe_mode
            or not permit.has_reservation
        ):
            return False
        overrun = self._bill_for(outcome).overrun
        return bool(overrun) and not permit.grow(overrun)

    def _draw_for_overrun(self, call: "ProxiedCall", most: int) -> None:
        """Draw what is owed, or `most` if the branch has no more left."""
        owed = self._bill_for(self._pending_outcome or CallOutcome.DONE).overrun
        amount = min(owed, most) or owed
        self._drawn_for_overrun += 1
        self._top_up.rest()
        self._top_up.ask(amount, amount, partial(self._on_overrun_drawn, call))

    def _on_overrun_drawn(self, call: "ProxiedCall", refusal: CallOutcome | None) -> None:
        """Charge what has been drawn; draw again as long as the branch has something left."""
        outcome, denial = self._pending_outcome, self._top_up.denial
        if outcome is None:
            return
        self._grow_by_up_to(self._bill_for(outcome).overrun)
        left = 0
        if refusal is None:
            left = self._permit.branch_unspent_micro
        elif refusal is CallOutcome.EXHAUSTED and denial is not None:
            left = denial.left_micro
        may_draw = self._drawn_for_overrun < limits.overrun_draws_max
        if left and may_draw and self._bill_for(outcome).overrun:
            self._draw_for_overrun(call, left)
        else:
            self._finish(call, outcome)

    def _grow_by_up_to(self, amount: int) -> None:
        """Take `amount` from the lease, or all that it has.

        The table gives all that is asked for or nothing, so this asks for one power of two after
        another. Example: of a lease of 11, 8 + 2 + 1 are taken when 15 are owed.
        """
        for bit in reversed(range(amount.bit_length())):
            if 1 << bit <= amount and self._permit.grow(1 << bit):
                amount -= 1 << bit

    def _is_free_round(self) -> bool:
        """Return whether the server asks for more input, and that costs nothing."""
        meter = self.meter
        if meter.tariff.charges_unfinished or meter.result is not ResultState.UNFINISHED:
            return False
        if self._is_free is None:
            self._is_free = _unfinished.is_free(self._permit.grant.branch_key, self._tool)
        return self._is_free

    def _bill_for(self, outcome: CallOutcome) -> FinalCharge:
        if self._is_free_round():
            return FinalCharge(0)
        is_complete = outcome is CallOutcome.DONE or self._has_ended
        return self.meter.bill(self._permit.price_micro, complete=is_complete)


def _credit_header(name: bytes, micro: int) -> HeaderField:
    return name, format_credits(micro).encode()
