"""A call whose cost is read in its answer: paid for as it comes, cut where credit ends.

No byte of an answer that is paid for by the step is passed on before credit for it is reserved. A
client that goes away leaves a call that may be heard to its end, where its cost is stated. Knows no
tariff: the meter says what is owed.
"""

from collections import deque
from collections.abc import Callable

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.core.audit import record_builder
from crewgate.core.audit import records as audit
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import CallEnd, CallOutcome
from crewgate.core.credits import format_credits
from crewgate.core.http import HeaderField
from crewgate.core.pricing.meter import CostMeter, FinalCharge, PricedChunk
from crewgate.core.pricing.token_usage import TokenUsage
from crewgate.core.verdict import Denial
from crewgate.gateway.call.credit_top_up import CreditTopUp
from crewgate.gateway.call.pending_call import PendingCall
from crewgate.gateway.call.proxied_call import ProxiedCall
from crewgate.gateway.call.termination import TerminationServices
from crewgate.gateway.headers import LEFT, RESERVED, USED
from crewgate.gateway.routes import ToolRoute
from crewgate.server import Exchange
from crewgate.upstream import RequestHead, Response


class MeteredCall(ProxiedCall):
    """A `ProxiedCall` with a `CostMeter`."""

    __slots__ = (
        "_bill",
        "_drains",
        "_ended",
        "_forget",
        "_funding",
        "_headed",
        "_kept",
        "_meter",
        "_on_top_up",
        "_owing",
        "_owing_draws",
        "_pieces",
        "_refusal",
    )  # fmt: skip

    def __init__(
        self,
        services: TerminationServices,
        exchange: Exchange,
        entry: ToolRoute,
        head: RequestHead,
        permit: Permit,
        request: audit.CallInfo,
        meter: CostMeter,
        kept: bytes | None,
    ) -> None:
        """`kept` is the client's body, which counts as long as the call has it."""
        super().__init__(services, exchange, entry, head, permit, request)
        self._meter = meter
        self._kept = kept
        self._pieces: deque[PricedChunk] = deque()  # of the answer, not paid for yet
        self._headed = False  # the meter has seen the answer's head,
        self._ended = False  # and its end
        self._funding = CreditTopUp(services, permit)
        self._refusal: CallOutcome | None = None  # there was none
        self._drains = False  # the client has gone, and the answer is heard to its end
        self._on_top_up = 0  # bytes of it since then
        self._forget: Callable[[], None] | None = None  # that it is not to drain for ever
        self._bill = FinalCharge(0)
        self._owing: CallOutcome | None = (
            None  # how it has ended, while more than was reserved is owed
        )
        self._owing_draws = 0  # for that

    # What comes of the answer.

    def drained(self) -> None:
        """Read on, unless the next piece is not paid for."""
        if not self._pieces:
            super().drained()

    def _download(self) -> None:
        if self._funding.asking and self._pieces:
            return
        if self._drains:
            self._drain()
        elif self._exchange.started or self._pays_for_first():
            super()._download()
        if self._pieces and not self._funding.asking and not self.over:
            self._fetch(self._pieces[0].due - self.permit.price)

    def _pays_for_first(self) -> bool:
        """Whether the answer may begin: one of which nothing is paid for is refused instead."""
        answer = None if self._carrier is None else self._carrier.answer
        if answer is None or not answer.status:
            return True
        self._read(answer)
        if self._pieces:
            return self._pays_for(self._pieces[0].due)
        # Its head may come long before what costs; events have nothing to be refused for yet.
        return answer.complete or self._meter.streams or not (self._meter.grows and self._gates)

    def _take(self, answer: Response) -> bytes:
        self._read(answer)
        return self._paid()

    def _is_whole(self, answer: Response) -> bool:
        return answer.complete and not self._pieces

    def _read(self, answer: Response) -> None:
        """Have the meter see what has come."""
        if not self._headed:
            self._headed = True
            self._meter.begin(answer.status, answer.headers)
        data = answer.take()
        if data:
            self._pieces.extend(self._meter.feed(data))
        if answer.complete and not self._ended:
            self._ended = True
            self._pieces.extend(self._meter.end(answer.trailers))

    def _paid(self) -> bytes:
        """What may go on."""
        pieces, out = self._pieces, []
        while pieces and self._pays_for(pieces[0].due):
            out.append(pieces.popleft().data)
        if out:
            self._funding.rest()
        return b"".join(out)

    def _pays_for(self, due: int) -> bool:
        """Whether so much is reserved, by now or by taking it from the lease at once."""
        if not self._gates:
            return True
        tariff, price = self._meter.tariff, self.permit.price
        if due <= price:
            ahead = price - due < tariff.step // 2 and price + tariff.step <= tariff.most
            if ahead and self._meter.grows:
                self.permit.grow(tariff.step)
            return True
        if not self._meter.grows or due > tariff.most:
            return False
        more = min(max(tariff.step, due - price), tariff.most - price)
        return self.permit.grow(more) or self.permit.grow(due - price)

    @property
    def _gates(self) -> bool:
        """Whether what is not paid for is held back: not in observe mode, nor where all is."""
        if self.permit.observed:
            return False
        terms = self._meter.tariff.response
        return self._meter.grows or any(term.source == "bytes" for term in terms)

    def _fetch(self, more: int) -> None:
        """Have credit drawn for the next piece; the answer waits meanwhile."""
        tariff, left = self._meter.tariff, self._meter.tariff.most - self.permit.price
        if self._refusal is None and self._funding.is_late:
            self._refusal = self._funding.why_late
        is_stuck = not self.permit.held or more > left or not self._meter.grows
        if self._refusal is not None or is_stuck:
            self._end(self._refusal or CallOutcome.EXHAUSTED)
            return
        if self._carrier is not None:
            self._carrier.pause()
        self._funding.ask(more, min(max(tariff.step, more), left), self._funded)

    def _funded(self, refusal: CallOutcome | None) -> None:
        """Go on with what has been drawn, or end because of `refusal`."""
        self._refusal = refusal
        if self._carrier is not None:
            self._carrier.resume()
        self.progressed()
        self._refusal = None

    # What is said of it.

    def _first_fields(self) -> list[HeaderField]:
        name = RESERVED if self._meter.tariff.reads_answer else USED
        return [_credit_header(LEFT, self.permit.left), _credit_header(name, self.permit.price)]

    def _last_fields(self) -> list[HeaderField]:
        if not self._meter.tariff.reads_answer:
            return []
        permit = self.permit
        self._charge_overrun(CallOutcome.DONE)
        cost = self._meter.bill(permit.price, complete=True).cost
        rest = permit.price - cost if permit.held else 0  # comes back when it is settled
        return [_credit_header(LEFT, permit.left + rest), _credit_header(USED, cost)]

    # The client goes.

    def _gone(self) -> None:
        """Hear the answer to its end, where that says what it cost."""
        stream = self._carrier
        wants = self._meter.tariff.hang_up == "drain" and self._meter.tariff.reads_answer
        if not wants or self.over or self._drains or stream is None or self._uploading:
            super()._gone()
            return
        self._drains = True
        self._leave()
        self._forget = self._services.later(limits.drain_answer_seconds_max, super()._gone)
        stream.resume()
        self._download()

    def _drain(self) -> None:
        stream = self._carrier
        if stream is None or self.over or not stream.answer.status:
            return
        self._read(stream.answer)
        self._on_top_up += len(self._paid())
        if self._is_whole(stream.answer) or self._on_top_up > limits.drain_bytes_max:
            self._end(CallOutcome.CLIENT_GONE)

    def _begin_answer(self, answer: Response, *, ends: bool) -> None:
        """From now on it is not tried again, so that its body is of no use."""
        self._kept, self.body, self._body = None, None, b""
        super()._begin_answer(answer, ends=ends)

    def _passed_fields(self, headers: list[HeaderField]) -> list[HeaderField]:
        """An answer that loses an event is shorter than its server says."""
        if not self._meter.hides_usage:
            return headers
        return [field for field in headers if field[0] != b"content-length"]

    # The end.

    def _end(self, outcome: CallOutcome) -> None:
        """End; where the answer is over, after credit has come for what is owed beyond it.

        Any other end is one at once: it takes what the lease has, and leaves the rest owed.
        """
        if self.over:
            return
        is_heard = outcome is CallOutcome.DONE or (
            outcome is CallOutcome.CLIENT_GONE and self._drains
        )
        if self._owing is not None and is_heard:
            return
        waits = is_heard and not self._funding.asking
        if waits and self._charge_overrun(outcome):
            self._owing = outcome
            self._let_go()
            self._pieces.clear()
            self._ask_for_overrun(self.permit.left)
        else:
            self._land(self._owing or outcome)

    def _land(self, outcome: CallOutcome) -> None:
        """End now."""
        if self._charge_overrun(outcome):
            self._grow_by_up_to(self._bill_of(outcome).overrun)
        super()._end(outcome)
        self._funding.stop()
        self._kept = None
        self._pieces.clear()
        self._meter.close()
        forget, self._forget = self._forget, None
        if forget is not None:
            forget()

    def _denial(self) -> Denial | None:
        denial = self._funding.denial
        return None if denial is None else self._services.explained(denial)

    def _charge_overrun(self, outcome: CallOutcome) -> bool:
        """Take what is owed beyond the reservation from the lease; True if that has not enough."""
        permit = self.permit
        if self._meter.tariff.on_overrun != "charge" or permit.observed or not permit.held:
            return False
        owed = self._bill_of(outcome).overrun
        return bool(owed) and not permit.grow(owed)

    def _ask_for_overrun(self, most: int) -> None:
        """Have as much drawn as is owed, or `most` if that is all that the branch has left."""
        owed = self._bill_of(self._owing or CallOutcome.DONE).overrun
        amount = min(owed, most) or owed
        self._owing_draws += 1
        self._funding.rest()
        self._funding.ask(amount, amount, self._overrun_funded)

    def _overrun_funded(self, refusal: CallOutcome | None) -> None:
        """Charge what has been drawn, and ask for what is left besides as long as that helps."""
        outcome, denial = self._owing, self._funding.denial
        if outcome is None:
            return
        self._grow_by_up_to(self._bill_of(outcome).overrun)
        left = 0
        if refusal is None:
            left = self.permit.left
        elif refusal is CallOutcome.EXHAUSTED and denial is not None:
            left = denial.left
        if left and self._owing_draws < limits.overrun_draws_max and self._bill_of(outcome).overrun:
            self._ask_for_overrun(left)
        else:
            self._land(outcome)

    def _grow_by_up_to(self, amount: int) -> None:
        """Take so much from the lease, or all that it has.

        The table gives all that is asked for or nothing, so it is asked for power by power of two.
        """
        for bit in reversed(range(amount.bit_length())):
            if 1 << bit <= amount and self.permit.grow(1 << bit):
                amount -= 1 << bit

    def _bill_of(self, outcome: CallOutcome) -> FinalCharge:
        complete = outcome is CallOutcome.DONE or self._ended
        return self._meter.bill(self.permit.price, complete=complete)

    def _cost(self, outcome: CallOutcome) -> int:
        self._bill = self._bill_of(outcome)
        if self._bill.overrun and not self.permit.observed:
            self._services.overran(self._request.id, self.permit.grant, self._bill.overrun)
        return self._bill.cost

    def _line(self, outcome: CallOutcome, status: int, cost: int) -> bytes:
        permit, request, found = (
            self.permit,
            self._meter.request,
            self._meter.counts or TokenUsage(),
        )
        end = CallEnd(
            outcome,
            cost,
            status,
            self._exchange.bytes_in,
            self._bytes_out,
            self._lasted_us(),
            overrun_micro=self._bill.overrun,
            model="" if request is None else request.name,
            tokens_in=found.fresh + found.cached + found.stored,
            tokens_out=found.answered,
        )
        left, would = permit.remaining, permit.would
        return encode(
            record_builder.permitted(
                self._request, permit.grant, end, remaining_micro=left, would=would
            )
        )


def _credit_header(name: bytes, micro: int) -> HeaderField:
    return name, format_credits(micro).encode()


def make_call(
    services: TerminationServices,
    pending: PendingCall,
    entry: ToolRoute,
    head: RequestHead,
    permit: Permit,
) -> ProxiedCall:
    """The call of a case that was permitted."""
    common = services, pending.exchange, entry, head, permit, pending.described
    if pending.priced is None:
        call = ProxiedCall(*common)
        call.body = pending.body
    else:
        call = MeteredCall(*common, pending.priced.meter, pending.body)
        call.body = pending.priced.body
    return call
