"""Forwards one request of CMD to the gateway with the sidecar's credentials, and its response back.

A call has no task: the exchange of CMD and the pool of connections to the gateway call its methods.
Both bodies are passed on as they arrive. A side that does not read stops the reads at the other
(backpressure).

If the gateway asks for a nonce (RFC 9449, section 8), the sidecar sends the request again with it.
For that it keeps the first `limits.sidecar_repeat_bytes_max` bytes of a body.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Protocol

import msgspec

from crewgate import limits
from crewgate._native.fields import values
from crewgate.core.http_types import IDEMPOTENT_METHODS, HeaderField
from crewgate.core.problems import DPOP_NONCE
from crewgate.errors import PeerError, UpstreamError, UpstreamTimeoutError
from crewgate.server.exchange import Exchange
from crewgate.upstream.interfaces import RequestHead, RequestStream, ReuseKey

_log = logging.getLogger(__name__)
# RFC 9110 §7.6.1, and older ones. Framing is written anew.
_NOT_FORWARDED = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)
_NOT_RETURNED = {b"connection", b"transfer-encoding", DPOP_NONCE}
_TRAILERS = b"trailers"


class CallCredentials(Protocol):
    """Adds what shows the gateway who calls."""

    def shown(self, method: bytes, target: bytes, fields: list[HeaderField]) -> list[HeaderField]:
        """Return the header fields of a request with the credentials.

        Raises:
            SidecarError: There are none now.
        """

    def take_nonce(self, status: int, fields: Sequence[HeaderField]) -> bool:
        """Remember the nonce of a response; return whether the gateway asks for one."""


class CallStarter(Protocol):
    """Finds a connection for a call."""

    def start(self, call: "ForwardedCall") -> None:
        """Carry the call as soon as possible."""


class ForwardedCall:
    """One call: an `ExchangeCallbacks` and an upstream `CallObserver`.

    It calls `on_end` with itself at its end, perhaps more than once.
    """

    __slots__ = (
        "_credentials",
        "_exchange",
        "_fields",
        "_gateway",
        "_is_blocked",
        "_is_over",
        "_is_second",
        "_is_sent",
        "_kept",
        "_on_end",
        "_stream",
        "attempts",
        "reuse_key",
    )
    wait_turn: tuple[ReuseKey, ...] = ("",)

    def __init__(
        self,
        exchange: Exchange,
        gateway: CallStarter,
        credentials: CallCredentials,
        on_end: Callable[["ForwardedCall"], object],
    ) -> None:
        self.attempts = 0
        self.reuse_key: ReuseKey = ""
        self._exchange = exchange
        self._gateway = gateway
        self._credentials = credentials
        self._on_end = on_end
        self._fields = _forwarded(exchange.request.headers)
        self._stream: RequestStream | None = None
        self._kept: bytes | None = b""  # what was taken of the body; None: it is too long
        self._is_sent = False  # the whole request
        self._is_blocked = False  # the stream takes no more for now
        self._is_second = False  # the gateway has asked for a nonce
        self._is_over = False
        exchange.watcher = self
        exchange.body_bytes_max = sys.maxsize  # the gateway has a bound for each tool

    def start(self) -> None:
        """Send the request, as soon as there is a connection."""
        if self._exchange.done:
            self._end()
        else:
            self._gateway.start(self)

    # `CallObserver`, for the pool and the stream.

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self._is_over

    @property
    def repeatable(self) -> bool:
        """Whether another stream can still carry the call from its start."""
        return self._kept is not None and not self._exchange.started

    @property
    def idempotent(self) -> bool:
        """Whether the tool may see the request twice (RFC 9110 §9.2.2)."""
        return self._exchange.request.method in IDEMPOTENT_METHODS

    def begun(self, stream: RequestStream) -> None:
        """Send the request on this stream, with a proof of its own."""
        self._stream = stream
        request = self._exchange.request
        try:
            fields = self._credentials.shown(request.method, request.target, self._fields)
        except Exception as error:  # noqa: BLE001 - the signer's; the call ends with a response
            self.failed(UpstreamError(str(error)))
            return
        body, exchange = self._take(), self._exchange
        body = body if self._kept is None else self._kept
        self._is_sent = exchange.complete and not exchange.buffered and not exchange.trailers
        length = len(body) if self._is_sent else request.length
        head = RequestHead(request.method, request.target, length, b"", fields)
        if stream.begin(head, body, ends=self._is_sent) and not self._is_sent:
            self._send_body()

    def again(self) -> None:
        """Wait for another stream: the one before is lost."""
        self._stream = None
        self._is_blocked = False

    def progressed(self) -> None:
        """Pass on what has arrived of the response."""
        stream, exchange = self._stream, self._exchange
        if stream is None or self._is_over:
            return
        response = stream.answer
        try:
            if not exchange.started:
                if response.informed:
                    for status, fields in response.take_informational():
                        exchange.inform(status, _returned(fields))
                if not response.status:
                    return
                wants_nonce = self._credentials.take_nonce(response.status, response.headers)
                if wants_nonce and self.repeatable and not self._is_second:
                    self._repeat(stream)
                    return
                self._kept = None
                data = response.take()
                ends = response.complete and not data and not response.trailers
                fields = _returned(response.headers)
                exchange.start(response.status, fields, ends=ends)
            else:
                data = response.take()
            if response.complete:
                exchange.watcher = None
                exchange.finish(data, response.trailers)
                self._end()
            elif data and not exchange.push(data):
                stream.pause()
        except PeerError:
            self.lost()

    def writable(self) -> None:
        """Send more of the body."""
        self._is_blocked = False
        self._send_body()

    def failed(self, error: UpstreamError) -> None:
        """Tell CMD that there is no response, or no more of it."""
        _log.warning("a call failed: %s", error)
        exchange, stream = self._exchange, self._stream
        exchange.watcher = None
        if exchange.started:
            exchange.reset(2)  # INTERNAL_ERROR (RFC 9113 §7)
        else:
            was_sent = stream is not None and stream.touched
            exchange.respond(*_problem(error, was_sent=was_sent))
        self._end()

    # `ExchangeCallbacks`, for the exchange.

    def body_arrived(self) -> None:
        """Send what has arrived of the body."""
        self._send_body()

    def drained(self) -> None:
        """Read on: CMD has read what was sent."""
        if self._stream is not None:
            self._stream.resume()
            self.progressed()

    def too_large(self) -> None:
        """Do nothing: the server answers 413."""

    def lost(self) -> None:
        """End the call, because CMD has left."""
        self._exchange.watcher = None
        self._end()

    # Parts.

    def _take(self) -> bytes:
        """Take what has arrived of the body, and keep it for a repetition if that is possible."""
        data = self._exchange.take()
        if data and self._kept is not None:
            is_short = len(self._kept) + len(data) <= limits.sidecar_repeat_bytes_max
            self._kept = self._kept + data if is_short else None
        return data

    def _send_body(self) -> None:
        stream, exchange = self._stream, self._exchange
        if stream is None or self._is_blocked or self._is_sent or self._is_over:
            return
        while data := self._take():
            if not stream.send_body(data):
                self._is_blocked = True
                return
        if not exchange.complete:
            exchange.want_body()
            return
        self._is_sent = True
        stream.end_body(exchange.trailers)

    def _repeat(self, stream: RequestStream) -> None:
        self._is_second = True
        self.again()
        stream.release()
        self._gateway.start(self)

    def _end(self) -> None:
        self._is_over = True
        self._on_end(self)
        self._kept = None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.release()


def _forwarded(fields: list[HeaderField]) -> list[HeaderField]:
    """Return the fields of a request that are not for this hop alone (RFC 9110 §7.6.1)."""
    dropped = _NOT_FORWARDED
    for value in values(fields, b"connection"):
        dropped |= {name.strip().lower() for name in value.split(b",")}
    passed = [field for field in fields if field[0] not in dropped]
    # HTTP/2 has no other coding (RFC 9113 §8.2.2).
    if any(_TRAILERS in value.lower() for value in values(fields, b"te")):
        passed.append((b"te", _TRAILERS))
    return passed


def _returned(fields: Sequence[HeaderField]) -> list[HeaderField]:
    """Return the fields of the gateway's answer that are for CMD too, also those about credits."""
    return [field for field in fields if field[0] not in _NOT_RETURNED]


def _problem(error: UpstreamError, *, was_sent: bool) -> tuple[int, list[HeaderField], bytes]:
    """Return a problem document of the sidecar itself (RFC 9457, section 4.2.1)."""
    is_late = isinstance(error, UpstreamTimeoutError)
    status = HTTPStatus.GATEWAY_TIMEOUT if is_late else HTTPStatus.BAD_GATEWAY
    rest = (
        "The tool may have done its work: repeat the call only if that does no harm."
        if was_sent
        else "Nothing was sent: a retry is safe."
    )
    content = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": f"The sidecar got no response of the gateway: {error}. {rest}",
    }
    fields = [(b"content-type", b"application/problem+json")]
    return status.value, fields, msgspec.json.encode(content)
