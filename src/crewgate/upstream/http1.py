"""Carries calls over an HTTP/1.1 connection to a tool's server, one at a time (RFC 9112).

The connection frames requests, and decides when it may carry another call. It writes at the end of
a turn, in one piece: between two separate writes a server may go to sleep, and waking it costs
time. `sweep` checks the deadlines; there is no timer for each. This module knows no permits.
"""

import socket
from collections.abc import Sequence

import httptools

from crewgate import limits
from crewgate._native.fields import written
from crewgate._native.response_reader import ResponseReader
from crewgate.core.http_types import HeaderField
from crewgate.errors import UpstreamError, UpstreamTimeoutError
from crewgate.upstream.balancer import Host
from crewgate.upstream.interfaces import (
    ENDING,
    CallObserver,
    DeliveryState,
    PoolCallbacks,
    RequestBodyTimeoutError,
    RequestHead,
    ReuseKey,
)
from crewgate.upstream.transport import Transport, TransportPoller

_METHODS_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})


class _UnsolicitedError(UpstreamError):
    """The server sent something although no request was written to it."""


class ResponseParser(ResponseReader):
    """Parses the responses of one connection with llhttp: head, body, trailers, end.

    It refuses what could be framed in two ways (llhttp does), protocol upgrades, and heads over
    their limits. See `ResponseReader`.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(
            httptools.HttpResponseParser, (httptools.HttpParserError, httptools.HttpParserUpgrade)
        )


class HTTP1Connection:
    """One connection, the call that it carries, and the response; it is its own `RequestStream`."""

    __slots__ = (
        "_handed_bytes",
        "_head_bytes",
        "_is_chunked",
        "_is_full",
        "_is_sending",
        "_keep_alive",
        "_loop_hooks",
        "_out",
        "_out_bytes",
        "_pool",
        "_transport",
        "answer",
        "authority",
        "caller",
        "deadline",
        "fresh",
        "host",
        "reuse_key",
    )

    def __init__(
        self,
        sock: socket.socket,
        loop_hooks: TransportPoller,
        pool: PoolCallbacks,
        authority: bytes,
        host: Host,
    ) -> None:
        self.host = host
        self.authority = authority
        self.caller: CallObserver | None = None
        self.answer = ResponseParser()
        self.reuse_key: ReuseKey | None = None
        self.fresh = True  # it has carried no call yet
        # Bytes of the current call that were handed to the transport, sent or not.
        self._handed_bytes = 0
        self._head_bytes = 0  # the size of the current request's head
        self._keep_alive = True  # it may carry another call after this one
        # Output of this turn, which is written at its end.
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._pool = pool
        self._loop_hooks = loop_hooks
        self.deadline = pool.now + limits.upstream_keep_seconds
        self._is_sending = False  # the end of the request's body is still to come
        self._is_chunked = False
        self._is_full = False  # the caller waits for `writable`
        self._transport = Transport(sock, loop_hooks, self)

    @property
    def free_streams(self) -> int:
        """How many further calls the connection may carry now."""
        return 1 if self.caller is None else 0

    @property
    def is_idle(self) -> bool:
        """Whether the connection carries no call."""
        return self.caller is None

    @property
    def touched(self) -> bool:
        """Whether the kernel has taken a byte of the call."""
        return self._transport.sent > 0

    def is_usable(self, caller: CallObserver) -> bool:
        """Return whether the connection seems alive.

        The poller notices a close in its next turn, and `_write` notices one before it writes. By
        then the caller may have lost its body, so for a request that must not be sent twice this
        method checks the socket itself.
        """
        return caller.idempotent or self.fresh or not self._transport.is_stale()

    def carry(self, caller: CallObserver) -> None:
        """Begin a call."""
        self.caller = caller
        self._handed_bytes = self._transport.sent = 0
        caller.begun(self)

    def sweep(self, now: float) -> None:
        """Fail a call that is overdue at `now`; close the connection if unused for too long."""
        if now <= self.deadline:
            return
        if self.caller is None:
            self._end()
        elif self._is_starved():
            self.failed(RequestBodyTimeoutError())
        else:
            self.failed(UpstreamTimeoutError("the tool's server did not respond in time"))

    def close(self) -> None:
        """Close at once if idle, otherwise after the call."""
        if self.caller is None:
            self._end()
        else:
            self._keep_alive = False

    def abort(self, reason: str = ENDING) -> None:
        """Close, and fail the call under way."""
        self.failed(UpstreamError(reason))

    # `RequestStream`, for the caller.

    def begin(self, head: RequestHead, body: bytes, *, ends: bool) -> bool:
        """Send the head and the first bytes of the body; return True."""
        answer = self.answer
        answer.reset(head_only=head.method == b"HEAD")
        length = len(body) if ends else head.length
        self._is_sending, self._is_full = not ends, False
        self._is_chunked = length is None
        if length is None:
            framing = b"transfer-encoding: chunked\r\n"
        elif length or head.method in _METHODS_WITH_BODY:  # RFC 9110 §8.6
            framing = b"content-length: %d\r\n" % length
        else:
            framing = b""
        data = b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b\r\n" % (
            head.method,
            head.target,
            self.authority,
            head.lines,
            framing,
        )
        pool = self._pool
        self.deadline = pool.now + (pool.first_byte_seconds if ends else pool.idle_seconds)
        self._head_bytes = len(data)
        self._send(data + body)
        return True

    def send_body(self, data: bytes) -> bool:
        """Send a piece of the body; return False if the next must wait for `writable`."""
        self.deadline = self._pool.now + self._pool.idle_seconds
        self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)
        self._is_full = self._out_bytes + self._transport.queued >= limits.buffer_bytes_max
        return not self._is_full

    def end_body(self, trailers: Sequence[HeaderField]) -> None:
        """End the body."""
        self._is_sending = False
        if self._is_chunked:
            self._send(b"0\r\n%b\r\n" % written(trailers))
        if not self.answer.status:
            self.deadline = self._pool.now + self._pool.first_byte_seconds

    def pause(self) -> None:
        """Stop reading, and the deadline: the client is slow, and has its own deadline."""
        self._transport.pause()
        self.deadline = float("inf")

    def resume(self) -> None:
        """Go on reading."""
        self._transport.resume()
        self.deadline = self._pool.now + self._pool.idle_seconds

    def release(self) -> None:
        """End the call; keep the connection if the exchange is complete or was not begun."""
        if self.caller is None:
            return
        self.caller = None
        answer = self.answer
        # If nothing was handed to the transport, the connection is still clean. Otherwise the bytes
        # will be sent, and their response would be taken for that of the next call.
        is_unsent = not self._handed_bytes
        # If part of a body is missing, the server would take the next request for that part.
        is_sent = not (self._is_sending or self._out) and self._transport.sent == self._handed_bytes
        is_done = is_unsent or (answer.complete and answer.reusable and is_sent)
        self._pool.left(self, answered=answer.status > 0)
        if not is_done or not self._keep_alive:
            self._end()
            return
        self._discard_output()
        self._transport.resume()  # the caller may have paused before the response was complete
        self.fresh = self.fresh and is_unsent
        self.deadline = self._pool.now + limits.upstream_keep_seconds
        if answer.bodyless and not is_unsent:
            self._transport.acknowledge()
            self._pool.rests(self)
        else:
            self._pool.freed(self)

    # `TransportCallbacks`, for the transport.

    def received(self, data: bytes) -> None:
        """Parse bytes of the response."""
        caller = self.caller
        if caller is None:  # a response without a request
            self._end()
            return
        if self._transport.sent < self._head_bytes:  # the head of the request is not sent yet
            raise _UnsolicitedError("the tool's server sent a response before the request")
        self.answer.feed(data)
        self.deadline = self._pool.now + self._pool.idle_seconds
        caller.progressed()

    def drained(self) -> None:
        """Ask the caller for more of the body, if it waits."""
        if (
            self._is_full
            and self.caller is not None
            and self._transport.queued < limits.buffer_bytes_max
        ):
            self._is_full = False
            self.caller.writable()

    def closed(self, error: OSError | None) -> None:
        """End the response if the close marks its end; otherwise the parser raises."""
        caller = self.caller
        if caller is None:
            self._end()
            return
        if error is not None:
            raise UpstreamError(f"the server's connection broke: {error.strerror}") from error
        self.answer.feed_end()
        caller.progressed()

    def failed(self, error: UpstreamError) -> None:
        """Close the connection, and report the call on it as failed."""
        caller, self.caller = self.caller, None
        self._end()
        if caller is not None:
            self._pool.broke(self, caller, error, self._delivery(error))

    def _delivery(self, error: UpstreamError) -> DeliveryState:
        """Return what the server has seen of a call that failed (RFC 9112 §9.3.1, §9.6)."""
        if not self.touched:
            return DeliveryState.UNSEEN if self.fresh else DeliveryState.STALE
        # Even bytes that are no valid response prove that the server is running. And a server that
        # waits for the rest of a request has nothing to answer yet.
        if self.answer.began or isinstance(error, _UnsolicitedError | RequestBodyTimeoutError):
            return DeliveryState.ANSWERED
        closed = not self.fresh and not isinstance(error, UpstreamTimeoutError)
        return DeliveryState.MET_ITS_END if closed else DeliveryState.LOST

    def _is_starved(self) -> bool:
        """Return whether all that the client sent is passed on, and the body is incomplete."""
        return self._is_sending and self._transport.sent == self._handed_bytes and not self._out

    def _send(self, data: bytes) -> None:
        if not self._out:
            self._loop_hooks.write_at_end(self._write)
        self._out.append(data)
        self._out_bytes += len(data)

    def _write(self) -> None:
        """Hand the output of this turn to the transport."""
        out = self._out
        if not out:  # it was discarded meanwhile
            return
        # Input on a kept connection before the request belongs to an earlier request, or to none.
        # It must not be taken for the response to this one, and the poller would only see it in the
        # next turn.
        if not (self._transport.sent or self.fresh) and self._transport.is_stale():
            self.failed(_UnsolicitedError("the kept connection was closed or had unread input"))
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        self._discard_output()
        self._handed_bytes += len(data)
        try:
            self._transport.send(data)
        except OSError:
            # The next read tells the cause: a response may have arrived before the close.
            self._keep_alive = False
            return
        self.drained()

    def _discard_output(self) -> None:
        self._out.clear()
        self._out_bytes = 0

    def _end(self) -> None:
        self._discard_output()
        self._transport.close()
        self._pool.ended(self)
