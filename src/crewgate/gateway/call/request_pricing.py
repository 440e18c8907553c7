"""Prices a request from its body: how much to reserve, and the body that goes upstream.

The body is written again from what the price was read from, so that the tool cannot read it
otherwise. If the credit left is too low, the requested output may be lowered to what it pays for. A
request that cannot be priced is refused.
"""

from collections.abc import Callable

import trio

from crewgate import limits
from crewgate._native.json_count import outline
from crewgate.core.credits import format_credits
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.pricing import llm_allowed_headers, llm_request
from crewgate.core.pricing.editable_json import EditableJSON, no_price
from crewgate.core.pricing.meter import CostMeter
from crewgate.core.pricing.sources import RequestParts
from crewgate.core.pricing.tariff import Tariff
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial
from crewgate.server.exchange import Exchange
from crewgate.server.request import Request

_FORMS = {
    b"application/x-www-form-urlencoded": "application/x-www-form-urlencoded",
    b"multipart/": "multipart/*",
}


class PricedRequest:
    """A request with its price: the `meter` of the call, and the `body` that goes on."""

    def __init__(self, meter: CostMeter, body: bytes | None, document: EditableJSON | None) -> None:
        """`body` is None if the request is priced without it."""
        self.meter = meter
        self.body = body
        self._document = document

    @property
    def bound(self) -> int:
        """The micro-credits to reserve."""
        return self.meter.bound

    @property
    def is_upper_bound(self) -> bool:
        """Whether `bound` is an upper bound, of which much may be refunded.

        False for a reservation that grows with its response: all but its last step is owed.
        """
        return self.meter.tariff.reads_answer and not self.meter.grows

    def lower(self, credit: int) -> bool:
        """Limit the response to what `credit` micro-credits pay for.

        Return False, and change nothing, if that would not be enough for a response.
        """
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
        """Limit the response to the credit that a denial says is left; False if it cannot be."""
        if denial.reason is not Reason.CREDITS_EXHAUSTED:
            return False
        return self.lower(denial.quota_micro - denial.used_micro)


class MemoryQuotaBody(bytes):
    """A body that counts against a shared quota for as long as it is referenced."""

    quota: FairShareLimiter | None = None
    crew = ""

    def __del__(self) -> None:
        if self.quota is not None:
            self.quota.free(len(self), self.crew)


class BodyReader:
    """Reads the bodies that prices are read from; together they take bounded memory."""

    def __init__(self) -> None:
        self.quota = FairShareLimiter(limits.priced_bodies_bytes_max, limits.priced_bodies_share)

    async def read(self, exchange: Exchange, crew: str, refuse: Callable[[], None]) -> bytes | None:
        """Return the whole body; None if the quota is used up, or the body takes too long.

        `refuse` is called if the body is too large. Raises PeerError then, or if the client has
        gone.
        """
        exchange.body_bytes_max = min(exchange.body_bytes_max, limits.priced_body_bytes_max)
        exchange.watcher = BodyTooLargeHandler(exchange, refuse)
        pieces: list[bytes] = []
        size, kept = 0, None
        try:
            with trio.move_on_after(limits.priced_body_seconds_max):
                while piece := await exchange.read():
                    if not self.quota.take(len(piece), crew):
                        return None
                    pieces.append(piece)
                    size += len(piece)
                kept = MemoryQuotaBody(b"".join(pieces))
                kept.quota, kept.crew, size = self.quota, crew, 0
        finally:
            self.quota.free(size, crew)
            exchange.watcher = None
        return kept


class BodyTooLargeHandler:
    """Observes an exchange while a coroutine works on it, and refuses a body that is too large."""

    def __init__(self, exchange: Exchange, refuse: Callable[[], None]) -> None:
        self._exchange = exchange
        self._refuse = refuse

    def too_large(self) -> None:
        """Refuse the request, and cancel the coroutine; a read ends with PeerError."""
        self._refuse()
        self._exchange.lose()

    def body_arrived(self) -> None:
        """Do nothing: the exchange itself wakes the reader."""

    drained = lost = body_arrived


# For the responses that are kept to read a price, of this process, which is one worker.
_responses_quota = FairShareLimiter(limits.priced_answers_bytes_max)


def price(
    tariff: Tariff, request: Request, body: bytes | None, path: bytes | None = None
) -> PricedRequest:
    """Return a request with its price; `body` is None if no price is read from it.

    `path` is the path at the server, if that is not the request's own. Raises InvalidRequestError
    (422), which says why there is no price.
    """
    document = _document(tariff, request, body)
    parts = RequestParts(request.headers, body or b"", document)
    charges = [(term.rate, term.of_request(parts)) for term in tariff.request]
    path = request.path if path is None else path
    asked, hides = None, False
    if tariff.usage is not None and document is not None and body is not None:
        llm_allowed_headers.check(request.headers, tariff.usage.allow)
        asked = llm_request.asked(tariff.usage, document, path, len(body))
        # Write the same limit wherever the request has one, so that no other one applies.
        llm_request.bound(document, asked, asked.written)
        if tariff.usage.dialect == "openai" and asked.streams:
            hides = llm_request.ask_for_usage(document, path)
    meter = CostMeter(
        tariff, charges, asked, hides_usage=hides, count=outline, room=_responses_quota
    )
    priced = PricedRequest(meter, body if document is None else document.written(), document)
    max_cost = tariff.max_cost
    if meter.request_cost > max_cost or (meter.max_cost > max_cost and not priced.lower(max_cost)):
        raise no_price(
            f"it may cost {format_credits(max(meter.request_cost, meter.max_cost))} credits; "
            f"a call of this tool costs at most {format_credits(max_cost)}",
        )
    return priced


def _document(tariff: Tariff, request: Request, body: bytes | None) -> EditableJSON | None:
    """Return the body as JSON if a price is read from it; refuse a compressed one."""
    if body is None:
        return None
    if any(name == b"content-encoding" and value != b"identity" for name, value in request.headers):
        raise no_price("its body is compressed; send it as it is")
    if tariff.usage is None and not any(term.reads_json for term in tariff.request):
        return None
    kinds = [value.lower() for name, value in request.headers if name == b"content-type"]
    for form, name in _FORMS.items():
        if any(kind.startswith(form) for kind in kinds):
            raise no_price(f"Content-Type is {name}; send application/json")
    try:
        body.decode()
        # The API of a language model has names that differ in "_" only, and both are read.
        return EditableJSON(body, outline, folds_words=tariff.usage is None)
    except ValueError as error:
        why = str(error) if "more than" in str(error) else "not a JSON object"
        raise no_price(f"its body is {why}") from None
