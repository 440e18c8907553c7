"""The price of a request that is not fixed: read in its body, bounded, lowered to what is left.

Decides what is reserved before a call begins, and what of its body goes on: it is written as it was
read. Knows no verdict but that credits ran out. What cannot be priced is refused.
"""

from collections.abc import Callable

import trio

from crewgate import limits
from crewgate._native.json_count import outline
from crewgate.core.credits import format_credits
from crewgate.core.pricing import llm_request, llm_request_headers
from crewgate.core.pricing.json_document import UNPRICED, JSONDocument
from crewgate.core.pricing.meter import CostMeter
from crewgate.core.pricing.sources import RequestParts
from crewgate.core.pricing.tariff import Tariff
from crewgate.core.problem_types import Reason
from crewgate.core.shared_quota import SharedQuota
from crewgate.core.verdict import Denial
from crewgate.errors import RequestRefusedError
from crewgate.server import Exchange, Request

_FORMS = {
    b"application/x-www-form-urlencoded": "application/x-www-form-urlencoded",
    b"multipart/": "multipart/*",
}


class PricedRequest:
    """A request with its price: the `meter` of the call, and the `body` that goes on."""

    def __init__(self, meter: CostMeter, body: bytes | None, document: JSONDocument | None) -> None:
        """`body` is None where the request is priced without it."""
        self.meter = meter
        self.body = body
        self._document = document

    def __repr__(self) -> str:
        return f"<PricedRequest {self.meter!r}>"

    @property
    def bound(self) -> int:
        """What is reserved, in micro-credits."""
        return self.meter.bound

    @property
    def is_upper_bound(self) -> bool:
        """Whether that is an upper bound, of which much may come back.

        Not of what grows with its answer: all but the last step of that is owed already.
        """
        return self.meter.tariff.reads_answer and not self.meter.grows

    def lower(self, credit: int) -> bool:
        """Bound the answer to what so many micro-credits pay for; False if that is no answer."""
        request, prices = self.meter.request, self.meter.tariff.usage
        if (
            request is None
            or prices is None
            or prices.on_short_credit != "lower"
            or not self._document
        ):
            return False
        tokens = self.meter.tokens_for(credit)
        if not limits.lowered_tokens_min <= tokens < request.written:
            return False
        llm_request.bound(self._document, request, tokens)
        self.meter.request = request._replace(written=tokens)
        self.body = self._document.written()
        return True

    def lower_for(self, denial: Denial) -> bool:
        """The same for what a refusal says is left."""
        if denial.reason is not Reason.CREDITS_EXHAUSTED:
            return False
        return self.lower(denial.quota_micro - denial.used_micro)


class AccountedBody(bytes):
    """A body that takes room for as long as anybody has it."""

    room: SharedQuota | None = None
    crew = ""

    def __del__(self) -> None:
        if self.room is not None:
            self.room.free(len(self), self.crew)


class BodyReader:
    """Reads requests that are to be priced: they are in memory, and so bounded together."""

    def __init__(self) -> None:
        self.room = SharedQuota(limits.priced_bodies_bytes_max, limits.priced_bodies_share)

    def __repr__(self) -> str:
        return f"<BodyReader {self.room!r}>"

    async def read(self, exchange: Exchange, crew: str, refuse: Callable[[], None]) -> bytes | None:
        """The whole body; None if there is no room for it, or it takes too long.

        `refuse` answers one that is over its bound. ClientError then, or if the client has gone.
        """
        exchange.body_bytes_max = min(exchange.body_bytes_max, limits.priced_body_bytes_max)
        exchange.watcher = _BodyTooLarge(exchange, refuse)
        pieces: list[bytes] = []
        size, kept = 0, None
        try:
            with trio.move_on_after(limits.priced_body_seconds_max):
                while piece := await exchange.read():
                    if not self.room.take(len(piece), crew):
                        return None
                    pieces.append(piece)
                    size += len(piece)
                kept = AccountedBody(b"".join(pieces))
                kept.room, kept.crew, size = self.room, crew, 0
        finally:
            self.room.free(size, crew)
            exchange.watcher = None
        return kept


class _BodyTooLarge:
    """Hears that a body is over its bound while it is read."""

    def __init__(self, exchange: Exchange, refuse: Callable[[], None]) -> None:
        self._exchange = exchange
        self._refuse = refuse

    def too_large(self) -> None:
        """Answer; whoever reads goes home."""
        self._refuse()
        self._exchange.lose()

    def body_arrived(self) -> None:
        """Whoever reads is woken by the exchange."""

    drained = lost = body_arrived


_answers = SharedQuota(limits.priced_answers_bytes_max)  # of this process, which is one worker


def price(
    tariff: Tariff, request: Request, body: bytes | None, path: bytes | None = None
) -> PricedRequest:
    """What a request costs; `body` is None where nobody has to read it.

    `path` is the path at the server, if that is not the request's own.
    RequestRefusedError (422) says what keeps it from a price.
    """
    document = _document(tariff, request, body)
    parts = RequestParts(request.headers, body or b"", document)
    charges = [(term.rate, term.of_request(parts)) for term in tariff.request]
    path = request.path if path is None else path
    asked, hides = None, False
    if tariff.usage is not None and document is not None and body is not None:
        llm_request_headers.check(request.headers, tariff.usage.allow)
        asked = llm_request.asked(tariff.usage, document, path, len(body))
        llm_request.bound(document, asked, asked.written)  # wherever the request has said another
        if tariff.usage.dialect == "openai" and asked.streams:
            hides = llm_request.ask_for_usage(document, path)
    meter = CostMeter(tariff, charges, asked, hides_usage=hides, count=outline, room=_answers)
    priced = PricedRequest(meter, body if document is None else document.written(), document)
    most = tariff.max_cost
    if meter.request_cost > most or (meter.max_cost > most and not priced.lower(most)):
        raise RequestRefusedError(
            UNPRICED,
            f"it may cost {format_credits(max(meter.request_cost, meter.max_cost))} credits; "
            f"a call of this tool costs at most {format_credits(most)}",
        )
    return priced


def _document(tariff: Tariff, request: Request, body: bytes | None) -> JSONDocument | None:
    """The body as JSON, if it is to be read; what is compressed is read by nobody."""
    if body is None:
        return None
    if any(name == b"content-encoding" and value != b"identity" for name, value in request.headers):
        raise RequestRefusedError(UNPRICED, "its body is compressed; send it as it is")
    if tariff.usage is None and not any(term.reads_json for term in tariff.request):
        return None
    for form, name in _FORMS.items():
        if any(kind.startswith(form) for kind in _content_types(request)):
            raise RequestRefusedError(UNPRICED, f"Content-Type is {name}; send application/json")
    try:
        body.decode()
        return JSONDocument(body, outline)
    except ValueError as error:
        why = str(error) if "more than" in str(error) else "no JSON object"
        raise RequestRefusedError(UNPRICED, f"its body is {why}") from None


def _content_types(request: Request) -> list[bytes]:
    return [value.lower() for name, value in request.headers if name == b"content-type"]
