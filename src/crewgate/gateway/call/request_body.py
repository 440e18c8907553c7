"""The way of a call's body to its tool: all at once if it was there, else piece by piece.

Knows the exchange that it comes from and the carrier that takes it; what comes back is not its
business.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from crewgate.core.audit.records import CallOutcome
from crewgate.core.http import HeaderField
from crewgate.core.verdict import Reason
from crewgate.errors import ClientError, RequestRefusedError
from crewgate.gateway import refusals
from crewgate.gateway.headers import upstream_headers
from crewgate.gateway.routes import ToolRoute
from crewgate.server import Exchange
from crewgate.upstream import RequestStream


class RequestBodyPump(ABC):
    """A call whose body goes up. `body` is that body, where it had been taken before."""

    __slots__ = (
        "_began", "_body", "_carrier", "_entry", "_exchange", "_full", "_outcome", "_uploading",
        "body",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, entry: ToolRoute) -> None:
        self.body: bytes | None = None
        self._exchange = exchange
        self._entry = entry
        self._carrier: RequestStream | None = None
        self._outcome: CallOutcome | None = None
        self._body = b""  # all of it, if it was there at the start
        self._uploading = False  # the body is still to go on, or its end
        self._began = False  # some of a body that is still arriving has gone on
        self._full = False  # the carrier has enough of the body until `writable`

    def writable(self) -> None:
        """Send more of the body."""
        self._full = False
        self._upload()

    def body_arrived(self) -> None:
        """Send on what has come of the body."""
        self._upload()

    @abstractmethod
    def _gone(self) -> None:
        """The client has gone."""

    @abstractmethod
    def _refuse(self, kind: refusals.ProblemType) -> None:
        """End a call that would not have begun, had all of it been known."""

    def _upload(self) -> None:
        stream, exchange = self._carrier, self._exchange
        if stream is None or not self._uploading or self._full or self._outcome is not None:
            return
        try:
            while data := exchange.take():
                self._began = True
                if not stream.send_body(data):
                    self._full = True
                    return
        except ClientError:
            self._gone()
            return
        if not exchange.complete:
            exchange.want_body()
            return
        trailers = self._trailers()
        if trailers is None:
            self._refuse(refusals.PROBLEM_TYPES[Reason.INVALID_REQUEST])
            return
        stream.end_body(trailers)
        self._began, self._uploading = True, False

    def _trailers(self) -> Sequence[HeaderField] | None:
        """Return those that go on; None if one passes itself off as the gateway's."""
        exchange, entry = self._exchange, self._entry
        if not exchange.trailers:
            return ()
        token = entry.tokens.find(exchange.request.headers, b"")
        try:
            return upstream_headers(
                exchange.trailers, entry.fields, token if isinstance(token, bytes) else b""
            )
        except RequestRefusedError:
            return None
