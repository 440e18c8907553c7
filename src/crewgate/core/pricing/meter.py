"""Computes what one call costs: an upper bound before it begins, then what its response states.

Bytes of the response go in; pieces with the amount due come out. `CostMeter.bill` decides what a
call costs that ended early, stated nothing, or stated nonsense.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from crewgate import limits
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.http_types import HeaderField
from crewgate.core.pricing.editable_json import CountItems
from crewgate.core.pricing.llm_request import RequestedUsage
from crewgate.core.pricing.mcp_result import ResultState
from crewgate.core.pricing.response_quantity_reader import ResponseQuantityReader
from crewgate.core.pricing.sources import Quantity
from crewgate.core.pricing.tariff import MILLION, Tariff, cost
from crewgate.core.pricing.token_usage import TokenUsage

Charge = tuple[int, Quantity]

_PIECE_BYTES_MIN = 1024  # of a response that is paid for by the byte
_ERROR = 400  # a response with this status or above says that nothing was done
_WITHOUT_RESULT = frozenset({ResultState.FAILED, ResultState.UNFINISHED})


class PricedChunk(NamedTuple):
    """A part of a response, and the micro-credits that the call owes once it is delivered."""

    data: bytes
    due: int


class FinalCharge(NamedTuple):
    """Micro-credits: the `cost` to charge, and the `overrun` stated beyond the reservation."""

    cost: int
    overrun: int = 0


class CostMeter:
    """The meter of one call; amounts are micro-credits.

    `charges` are what its request is known to cost; `request` is what it asks a language model
    for. `grows`: the reservation grows while the response streams.
    """

    def __init__(
        self,
        tariff: Tariff,
        charges: Sequence[Charge] = (),
        request: RequestedUsage | None = None,
        *,
        hides_usage: bool = False,
        count: CountItems | None = None,
        room: FairShareLimiter | None = None,
    ) -> None:
        """`hides_usage`: the client did not ask for the usage event, so it is not passed on.

        `count` and `room` are those of `ResponseQuantityReader`.
        """
        self.tariff = tariff
        self.request = request
        self._charges = tuple(charges)
        self._terms = [
            (number, term.rate, term.of_progress if term.is_counted else None)
            for number, term in enumerate(tariff.response)
        ]
        streams = request is None or request.streams
        self.grows = bool(tariff.step) and streams and tariff.reads_answer
        self._due = 0
        self._highest = 0  # that may be owed for the response
        self.hides_usage = hides_usage
        self._reading = ResponseQuantityReader(
            tariff,
            piece_bytes=self._piece_bytes(),
            hides_usage=hides_usage,
            count=count,
            room=room,
        )

    # Before the call.

    @property
    def request_cost(self) -> int:
        """The cost of the request alone."""
        return cost(self.tariff.call, self._charges)

    @property
    def max_cost(self) -> int:
        """The maximum cost of the call, as far as its request tells."""
        if self.request is None:
            return self.tariff.max_cost if self.tariff.response else self.request_cost
        written = self.request.written * self.request.choices
        charges = (*self._charges, *self._to_read(), (self.request.model.output, written))
        return cost(self.tariff.call, charges)

    @property
    def bound(self) -> int:
        """The amount to reserve before the call begins; if it `grows`, more may follow."""
        if not self.grows:
            return self.max_cost
        first = cost(self.tariff.call, (*self._charges, *self._to_read())) + self.tariff.step
        return min(first, self.max_cost)

    def tokens_for(self, credit: int) -> int:
        """Return how many output tokens of each choice `credit` micro-credits pay for in all."""
        request = self.request
        if request is None or not request.model.output:
            return 0
        spent = cost(self.tariff.call, (*self._charges, *self._to_read()))
        return max(0, credit - spent) * MILLION // (request.model.output * request.choices)

    # While the response arrives.

    def begin(self, status: int, headers: Sequence[HeaderField]) -> None:
        """Read the head of the response."""
        self._highest = self.max_cost  # the request changes no more
        self._reading.begin(status, headers)

    def feed(self, data: bytes) -> Iterator[PricedChunk]:
        """Take a part of the body; yield what may be passed on, with its price."""
        return self._priced(self._reading.feed(data))

    def end(self, trailers: Sequence[HeaderField]) -> Iterator[PricedChunk]:
        """Take the end of the response; yield what was held back, with its price."""
        return self._priced(self._reading.end(trailers))

    def unread_bytes(self, due: int) -> int:
        """Return how many more bytes may arrive unread before more than `due` is owed.

        `count_unread` then has to count them. 0 if the content of the body states the cost.
        """
        tariff = self.tariff
        if tariff.usage is not None or tariff.reads_json:
            return 0
        owed = sum(rate * units for rate, units in self._charges_so_far(None))
        left = (due - tariff.call) * MILLION - owed
        rate = sum(term.byte_rate for term in tariff.response)
        if left < 0 or not rate:
            return 0 if left < 0 else sys.maxsize
        return min(int(left // rate), sys.maxsize)

    def count_unread(self, size: int) -> None:
        """Count bytes of the body that have arrived and were passed on unread."""
        self._reading.bytes += size

    def close(self) -> None:
        """Free what is kept, because nothing more will arrive."""
        self._reading.close()

    @property
    def streams(self) -> bool:
        """Whether the response is read event by event."""
        return self._reading.streams

    # After the response.

    @property
    def result(self) -> ResultState | None:
        """The state of the request after the response of an MCP server; None before it arrives."""
        return self._reading.result

    @property
    def counts(self) -> TokenUsage | None:
        """The tokens that the response stated; None if it stated none."""
        return self._reading.counts

    def bill(self, reserved: int, *, complete: bool) -> FinalCharge:
        """Return the charge for a call that a server has seen, with `reserved` held for it.

        The first rule that applies:

        1. The response stated its cost: that, up to `reserved`; the rest is the overrun.
        2. It is an error, or an MCP server asks for more input: the cost of the request.
        3. It was cut short, and the cost of what had arrived is known: that.
        4. Otherwise: all that was reserved.
        """
        if self._is_stated(complete=complete):
            due = self._stated_cost(self.counts)
            return FinalCharge(
                min(due, reserved), min(max(0, due - reserved), limits.quota_micro_max)
            )
        is_error = self._reading.status >= _ERROR and (complete or self.tariff.usage is not None)
        if is_error or self.result in _WITHOUT_RESULT:
            return FinalCharge(min(self.request_cost, reserved))
        if not complete and self._reading.status and self._is_cost_known():
            return FinalCharge(min(self._stated_cost(self._estimate()), reserved))
        return FinalCharge(reserved)

    def _priced(self, pieces: Iterable[bytes]) -> Iterator[PricedChunk]:
        for piece in pieces:
            self._due = max(self._due, self._so_far())
            yield PricedChunk(piece, self._due)

    def _so_far(self) -> int:
        """Return what is owed for what has arrived: the maximum if that cannot be read."""
        if self.request is not None and self._reading.status >= _ERROR and self.counts is None:
            return self.request_cost
        if not self.grows or self.request is None:
            return self._stated_cost(self.counts)
        is_stated = self._reading.is_final and not self._reading.since
        if is_stated and self.counts and (self.counts.answered or not self._reading.text):
            return self._stated_cost(self.counts)
        estimate = self._highest
        if not self._reading.is_dark:
            estimate = min(estimate, self._stated_cost(self._estimate()))
        return max(estimate, self._stated_cost(self.counts))

    def _to_read(self) -> tuple[Charge, ...]:
        """Return the charge for what the model may read, at its highest rate."""
        if self.request is None:
            return ()
        model = self.request.model
        return ((max(model.input, model.cached, model.cache_write), self.request.read),)

    def _is_stated(self, *, complete: bool) -> bool:
        usage, reading = self.tariff.usage, self._reading
        if usage is not None:
            # Each of Gemini's events states the tokens so far, so an early one is not the total.
            return reading.is_final and (complete or usage.dialect != "gemini")
        return all(
            complete if term.is_counted else number in reading.stated
            for number, term in enumerate(self.tariff.response)
        )

    def _is_cost_known(self) -> bool:
        """Return whether the cost of an unfinished response follows from what has arrived."""
        if self.tariff.usage is not None:
            # Without a step, hidden reasoning may have cost tokens, so all is charged.
            may_estimate = self.grows or self.tariff.on_disconnect == "cancel"
            return may_estimate and self._reading.streams and not self._reading.is_dark
        return all(
            term.is_counted or number in self._reading.stated
            for number, term in enumerate(self.tariff.response)
        )

    def _stated_cost(self, tokens: TokenUsage | None) -> int:
        return cost(self.tariff.call, self._charges_so_far(tokens))

    def _charges_so_far(self, tokens: TokenUsage | None) -> list[Charge]:
        charges, stated = list(self._charges), self._reading.stated
        for number, rate, count in self._terms:
            if count is not None:
                charges.append((rate, count(self._reading)))
            elif number in stated:
                charges.append((rate, stated[number]))
        if self.request is not None and tokens is not None:
            charges.extend(tokens.charges(self.request.model))
        return charges

    def _estimate(self) -> TokenUsage:
        request, usage = self.request, self.tariff.usage
        if request is None or usage is None:
            return self.counts or TokenUsage()
        fresh, cached, stored, answered = self.counts or TokenUsage(request.read)
        by_text = -(-self._reading.text // usage.bytes_per_token)
        return TokenUsage(fresh, cached, stored, max(answered, self._reading.events, by_text))

    def _piece_bytes(self) -> int:
        """Return the bytes that cost at most one step, within reasonable bounds."""
        rate = sum(term.byte_rate for term in self.tariff.response)
        if not self.grows or not rate:
            return limits.receive_bytes
        affordable = self.tariff.step * MILLION // rate
        return min(limits.receive_bytes, max(_PIECE_BYTES_MIN, affordable))
