"""The way of a call's body to its tool: all at once if it was there, else piece by piece.

Knows the exchange that it comes from and the carrier that takes it; what comes back is not its
business.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from crewgate.core.audit.records import Outcome
from crewgate.core.verdict import Reason
from crewgate.errors import PeerError, RequestRefusedError
from crewgate.gateway import refusals
from crewgate.gateway.headers import passed_fields
from crewgate.gateway.routes import Entry
from crewgate.server import Exchange, Field
from crewgate.upstream import Carrier


class Uploading(ABC):
    """A call whose body goes up. `body` is that body, where it had been taken before."""

    __slots__ = (
        "_began", "_body", "_carrier", "_entry", "_exchange", "_full", "_outcome", "_uploading",
        "body",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, entry: Entry) -> None:
        self.body: bytes | None = None
        self._exchange = exchange
        self._entry = entry
        self._carrier: Carrier | None = None
        self._outcome: Outcome | None = None
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
    def _refuse(self, kind: refusals.Kind) -> None:
        """End a call that would not have begun, had all of it been known."""

    def _upload(self) -> None:
        carrier, exchange = self._carrier, self._exchange
        if carrier is None or not self._uploading or self._full or self._outcome is not None:
            return
        try:
            while data := exchange.take():
                self._began = True
                if not carrier.send_body(data):
                    self._full = True
                    return
        except PeerError:
            self._gone()
            return
        if not exchange.complete:
            exchange.want_body()
            return
        trailers = self._trailers()
        if trailers is None:
            self._refuse(refusals.KINDS[Reason.INVALID_REQUEST])
            return
        carrier.end_body(trailers)
        self._began, self._uploading = True, False

    def _trailers(self) -> Sequence[Field] | None:
        """Return those that go on; None if one passes itself off as the gateway's."""
        exchange, entry = self._exchange, self._entry
        if not exchange.trailers:
            return ()
        token = entry.tokens.find(exchange.request.headers, b"")
        try:
            return passed_fields(
                exchange.trailers, entry.fields, token if isinstance(token, bytes) else b""
            )
        except RequestRefusedError:
            return None
