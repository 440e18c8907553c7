"""The price of a request that is not fixed: read in its body, bounded, lowered to what is left.

Decides what is reserved before a call begins, and what of its body goes on: it is written as it was
read. Knows no verdict but that credits ran out. What cannot be priced is refused.
"""

from collections.abc import Iterable

from crewgate import limits
from crewgate.core import usage
from crewgate.core.credits import format_credits
from crewgate.core.document import UNPRICED, Document
from crewgate.core.meter import Charge, Meter
from crewgate.core.prices import Tariff, amount
from crewgate.core.verdict import Denial, Reason
from crewgate.errors import RequestRefusedError
from crewgate.server import Exchange, Request


class Priced:
    """A request with its price: the `meter` of the call, and the `body` that goes on."""

    def __init__(self, meter: Meter, body: bytes | None, document: Document | None) -> None:
        """`body` is None where the request is priced without it."""
        self.meter = meter
        self.body = body
        self._document = document

    def __repr__(self) -> str:
        return f"<Priced {self.meter!r}>"

    @property
    def bound(self) -> int:
        """What is reserved, in micro-credits."""
        return self.meter.bound

    @property
    def loose(self) -> bool:
        """Whether that is an upper bound, of which some may come back."""
        return self.meter.tariff.reads_answer

    def lower(self, credit: int) -> bool:
        """Bound the answer to what so many micro-credits pay for; False if that is no answer."""
        request, prices = self.meter.request, self.meter.tariff.usage
        if request is None or prices is None or prices.short != "lower" or not self._document:
            return False
        tokens = self.meter.tokens_for(credit)
        if not limits.lowered_tokens_min <= tokens < request.written:
            return False
        usage.lower(self._document, request, tokens)
        self.meter.request = request._replace(written=tokens)
        self.body = self._document.written()
        return True

    def lower_for(self, denial: Denial) -> bool:
        """The same for what a refusal says is left."""
        if denial.reason is not Reason.CREDITS_EXHAUSTED:
            return False
        return self.lower(denial.quota - denial.used)


class Kept(bytes):
    """A body that counts among all that are kept, for as long as anybody has it."""

    bodies: "Bodies | None" = None

    def __del__(self) -> None:
        if self.bodies is not None:
            self.bodies.bytes -= len(self)


class Bodies:
    """The requests that were read to be priced: they are in memory, and so bounded together."""

    def __init__(self) -> None:
        self.bytes = 0

    def __repr__(self) -> str:
        return f"<Bodies {self.bytes} bytes>"

    async def read(self, exchange: Exchange) -> bytes | None:
        """The whole body; None if there is no room for it. PeerError if the client has gone."""
        exchange.body_bytes_max = min(exchange.body_bytes_max, limits.priced_body_bytes_max)
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := await exchange.read():
                pieces.append(piece)
                size += len(piece)
                self.bytes += len(piece)
                if self.bytes > limits.priced_bodies_bytes_max:
                    return None
            kept = Kept(b"".join(pieces))
            kept.bodies, size = self, 0
        finally:
            self.bytes -= size
        return kept


def price(tariff: Tariff, request: Request, body: bytes | None) -> Priced:
    """What a request costs; `body` is None where nobody has to read it.

    RequestRefusedError (422) says what keeps it from a price.
    """
    document = _document(tariff, request, body)
    charges = [] if body is None else list(_charges(tariff, body, document))
    if tariff.usage is None or document is None or body is None:
        meter = Meter(tariff, charges)
        hides = False
    else:
        asked = usage.asked(tariff.usage, document, request.path, len(body))
        hides = asked.streams and usage.ask_for_usage(tariff.usage.dialect, document)
        meter = Meter(tariff, charges, asked, size=len(body), hides_usage=hides)
    priced = Priced(meter, body if document is None else document.written(), document)
    if meter.worst > tariff.most and not priced.lower(tariff.most):
        raise RequestRefusedError(
            UNPRICED,
            f"it may cost {format_credits(meter.worst)} credits; "
            f"a call of this tool costs at most {format_credits(tariff.most)}",
        )
    return priced


def _document(tariff: Tariff, request: Request, body: bytes | None) -> Document | None:
    inside = any(term.source != "bytes" for term in tariff.request)
    if body is None or not (inside or tariff.usage):
        return None
    if _is_encoded(request.headers):
        raise RequestRefusedError(UNPRICED, "its body is compressed; send it as it is")
    try:
        return Document(body)
    except ValueError:
        raise RequestRefusedError(UNPRICED, "its body is no JSON object") from None


def _is_encoded(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name == b"content-encoding" and value != b"identity" for name, value in headers)


def _charges(tariff: Tariff, body: bytes, document: Document | None) -> Iterable[Charge]:
    for term in tariff.request:
        if term.source == "bytes":
            yield term.rate, len(body)
        elif document is not None and term.source == "items":
            yield term.rate, document.items(term.place)
        elif document is not None:
            found = document.find(term.place)
            try:
                yield term.rate, amount(found or b"")
            except ValueError:
                raise RequestRefusedError(
                    UNPRICED, f"{term.name} is not a number of 0 or more"
                ) from None
