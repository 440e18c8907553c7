"""What one call owes: an upper bound before it begins, and more exactly with all that comes back.

Decides how much of an answer is paid for, and what a call costs that ended early, stated nothing or
stated nonsense. Knows neither leases nor sockets: bytes come in, pieces with their price go out.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from crewgate import limits
from crewgate.core.http import HeaderField
from crewgate.core.pricing.json_document import CountItems
from crewgate.core.pricing.llm_request import RequestedUsage
from crewgate.core.pricing.sources import Quantity
from crewgate.core.pricing.tariff import MILLION, Tariff, cost
from crewgate.core.pricing.token_usage import TokenUsage
from crewgate.core.pricing.usage_reader import UsageReader
from crewgate.core.shared_quota import SharedQuota

Charge = tuple[int, Quantity]

_PIECE_BYTES_MIN = 1024  # of an answer that is paid for by the byte
_ERROR = 400  # an answer of this status or above says that nothing was done


class PricedChunk(NamedTuple):
    """A part of an answer, and what the call owes once it has been delivered."""

    data: bytes
    due: int


class FinalCharge(NamedTuple):
    """Micro-credits: what is charged, and what an answer stated beyond its reservation."""

    cost: int
    overrun: int = 0


class CostMeter:
    """Of one call: `charges` are what its request is known to cost, `request` what it asks for."""

    def __init__(
        self,
        tariff: Tariff,
        charges: Sequence[Charge] = (),
        request: RequestedUsage | None = None,
        *,
        hides_usage: bool = False,
        count: CountItems | None = None,
        room: SharedQuota | None = None,
    ) -> None:
        """`hides_usage`: its client does not expect any. `count` and `room` are `UsageReader`'s."""
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
        self.hides_usage = hides_usage
        self._reading = UsageReader(
            tariff,
            piece_bytes=self._piece_bytes(),
            hides_usage=hides_usage,
            count=count,
            room=room,
        )

    def __repr__(self) -> str:
        return f"<Meter due={self._due}>"

    # Before the call.

    @property
    def request_cost(self) -> int:
        """What the request alone costs."""
        return cost(self.tariff.call, self._charges)

    @property
    def max_cost(self) -> int:
        """What the call can cost at most, as far as its request tells."""
        if self.request is None:
            return self.tariff.max_cost if self.tariff.response else self.request_cost
        written = self.request.written * self.request.choices
        charges = (*self._charges, *self._to_read(), (self.request.model.output, written))
        return cost(self.tariff.call, charges)

    @property
    def bound(self) -> int:
        """What is reserved before the call begins; `grows` tells that more may follow."""
        if not self.grows:
            return self.max_cost
        first = cost(self.tariff.call, (*self._charges, *self._to_read())) + self.tariff.step
        return min(first, self.max_cost)

    def tokens_for(self, credit: int) -> int:
        """How many tokens each choice may be answered with for so many micro-credits in all."""
        request = self.request
        if request is None or not request.model.output:
            return 0
        spent = cost(self.tariff.call, (*self._charges, *self._to_read()))
        return max(0, credit - spent) * MILLION // (request.model.output * request.choices)

    # While the answer comes.

    def begin(self, status: int, headers: Sequence[HeaderField]) -> None:
        """The head of the answer."""
        self._reading.begin(status, headers)

    def feed(self, data: bytes) -> Iterator[PricedChunk]:
        """A part of its body; what may be passed on of it, piece by piece."""
        return self._priced(self._reading.feed(data))

    def end(self, trailers: Sequence[HeaderField]) -> Iterator[PricedChunk]:
        """The end of it."""
        return self._priced(self._reading.end(trailers))

    def close(self) -> None:
        """Nothing more comes, whether it was the end or not."""
        self._reading.close()

    @property
    def streams(self) -> bool:
        """Whether the answer is read event by event."""
        return self._reading.streams

    # After it.

    @property
    def counts(self) -> TokenUsage | None:
        """The tokens that the answer stated."""
        return self._reading.counts

    def bill(self, reserved: int, *, complete: bool) -> FinalCharge:
        """What is charged of a call whose request was seen, with so much reserved for it.

        What is not stated, or unreadable, counts as all that was reserved; an answer that says
        that it is an error, and no more, costs what the request does. Of an answer that was cut
        off, what had come of it is charged, where that can be told.
        """
        if self._is_stated(complete=complete):
            due = self._stated_cost(self.counts)
            return FinalCharge(
                min(due, reserved), min(max(0, due - reserved), limits.quota_micro_max)
            )
        if self._reading.status >= _ERROR and (complete or self.tariff.usage is not None):
            return FinalCharge(min(self.request_cost, reserved))
        if not complete and self._reading.status and self._is_cost_known():
            return FinalCharge(min(self._stated_cost(self._guess()), reserved))
        return FinalCharge(reserved)

    def _priced(self, pieces: Iterable[bytes]) -> Iterator[PricedChunk]:
        for piece in pieces:
            self._due = max(self._due, self._so_far())
            yield PricedChunk(piece, self._due)

    def _so_far(self) -> int:
        """What is owed for what has come: all that it can be where that cannot be read."""
        if self.request is not None and self._reading.status >= _ERROR and self.counts is None:
            return self.request_cost
        if not self.grows or self.request is None:
            return self._stated_cost(self.counts)
        is_stated = self._reading.is_final and not self._reading.since
        if is_stated and self.counts and (self.counts.answered or not self._reading.text):
            return self._stated_cost(self.counts)
        guess = (
            self.max_cost
            if self._reading.is_dark
            else min(self.max_cost, self._stated_cost(self._guess()))
        )
        return max(guess, self._stated_cost(self.counts))

    def _to_read(self) -> tuple[Charge, ...]:
        """What a model is asked to read, at its dearest."""
        if self.request is None:
            return ()
        model = self.request.model
        return ((max(model.input, model.cached, model.cache_write), self.request.read),)

    def _is_stated(self, *, complete: bool) -> bool:
        usage, reading = self.tariff.usage, self._reading
        if usage is not None:  # Gemini's events each state what there is so far
            return reading.is_final and (complete or usage.dialect != "gemini")
        return all(
            complete if term.is_counted else number in reading.stated
            for number, term in enumerate(self.tariff.response)
        )

    def _is_cost_known(self) -> bool:
        """Whether what an unfinished answer costs follows from what has come of it."""
        if self.tariff.usage is not None:
            # Without a step a model may have thought unseen, and that is paid for in full.
            guesses = self.grows or self.tariff.on_disconnect == "cancel"
            return guesses and self._reading.streams and not self._reading.is_dark
        return all(
            term.is_counted or number in self._reading.stated
            for number, term in enumerate(self.tariff.response)
        )

    def _stated_cost(self, tokens: TokenUsage | None) -> int:
        charges, stated = list(self._charges), self._reading.stated
        for number, rate, count in self._terms:
            if count is not None:
                charges.append((rate, count(self._reading)))
            elif number in stated:
                charges.append((rate, stated[number]))
        if self.request is not None and tokens is not None:
            charges.extend(tokens.charges(self.request.model))
        return cost(self.tariff.call, charges)

    def _guess(self) -> TokenUsage:
        """The tokens of an answer that is not over."""
        request, usage = self.request, self.tariff.usage
        found = self.counts or TokenUsage()
        if request is None or usage is None:
            return found
        if self.counts is None:
            found = TokenUsage(request.read)
        answered = max(self._reading.events, -(-self._reading.text // usage.bytes_per_token))
        return found._replace(answered=max(found.answered, answered))

    def _piece_bytes(self) -> int:
        """So many cost no more than a step, unless that buys next to nothing."""
        rate = sum(term.byte_rate for term in self.tariff.response)
        if not self.grows or not rate:
            return limits.receive_bytes
        cheap = self.tariff.step * MILLION // rate
        return min(limits.receive_bytes, max(_PIECE_BYTES_MIN, cheap))
