"""A kept HTTP/1.1 connection to a tool's server: one call at a time (RFC 9112).

Says how a request is framed and when the connection may carry another. Writes at the end of a turn,
one send after the other: between two of them a server falls asleep, and waking it is dear. Knows
neither permits nor which server it leads to; deadlines are looked at by `sweep`, not by a timer
each.
"""

import socket
from collections.abc import Sequence

import httptools

from crewgate import limits
from crewgate._native.fields import written
from crewgate._native.response_reader import ResponseReader
from crewgate.core.http import HeaderField
from crewgate.errors import UpstreamError, UpstreamTimeoutError
from crewgate.upstream.balancer import Host
from crewgate.upstream.interfaces import (
    ENDING,
    CallObserver,
    DeliveryState,
    PoolCallbacks,
    RequestHead,
    ReuseKey,
    StarvedError,
)
from crewgate.upstream.transport import EventLoopHooks, Transport

_HAVE_BODIES = frozenset({b"POST", b"PUT", b"PATCH"})


class _UnaskedError(UpstreamError):
    """Something came on a connection whose request was not written yet."""


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
    """One connection, the call that it carries, and that call's answer. Is a `Carrier`."""

    __slots__ = (
        "_chunked",
        "_full",
        "_given",
        "_head_bytes",
        "_kept",
        "_loop_hooks",
        "_out",
        "_out_bytes",
        "_owner",
        "_sending",
        "_wire",
        "answer",
        "authority",
        "caller",
        "deadline",
        "fresh",
        "member",
        "reuse_key",
    )

    def __init__(
        self,
        sock: socket.socket,
        loop_hooks: EventLoopHooks,
        owner: PoolCallbacks,
        authority: bytes,
        member: Host,
    ) -> None:
        self.member = member
        self.authority = authority
        self.caller: CallObserver | None = None
        self.answer = ResponseParser()
        self.reuse_key: ReuseKey | None = None
        self.fresh = True  # it has carried no call yet
        self._given = 0  # bytes of the call that the wire was given, sent or not
        self._head_bytes = 0  # of the call's request
        self._kept = True  # it may carry another call after this one
        self._out: list[bytes] = []  # said in this turn, and written at its end
        self._out_bytes = 0
        self._owner = owner
        self._loop_hooks = loop_hooks
        self.deadline = owner.now + limits.upstream_keep_seconds
        self._sending = False  # the body of the request has not come to its end
        self._chunked = False
        self._full = False  # the caller was told that it is enough of the body
        self._wire = Transport(sock, loop_hooks, self)

    def __repr__(self) -> str:
        return f"<HTTP1Connection {'idle' if self.caller is None else 'busy'}>"

    @property
    def free_streams(self) -> int:
        """How many further calls it may carry now."""
        return 1 if self.caller is None else 0

    @property
    def is_idle(self) -> bool:
        """Whether it carries no call."""
        return self.caller is None

    @property
    def touched(self) -> bool:
        """Whether the kernel has a byte of the call."""
        return self._wire.sent > 0

    def is_usable(self, caller: CallObserver) -> bool:
        """Return whether the connection is alive, as far as one can see.

        A closed one is noticed by the poller in its next turn, one that was closed within this
        turn before the request is written. A request that must not be sent twice, and may have to
        give up its body by then, is worth a look of its own.
        """
        return caller.idempotent or self.fresh or not self._wire.is_stale()

    def carry(self, caller: CallObserver) -> None:
        """Begin a call."""
        self.caller = caller
        self._given = self._wire.sent = 0
        caller.begun(self)

    def sweep(self, now: float) -> None:
        """Break off what takes too long, close what was long unused."""
        if now <= self.deadline:
            return
        if self.caller is None:
            self._end()
        elif self._is_starved():
            self.failed(StarvedError())
        else:
            self.failed(UpstreamTimeoutError("the tool's server took too long"))

    def close(self) -> None:
        """Close if it is idle; else after its call."""
        if self.caller is None:
            self._end()
        else:
            self._kept = False

    def abort(self, why: str = ENDING) -> None:
        """Close, and fail the call under way."""
        self.failed(UpstreamError(why))

    # The caller's side.

    def begin(self, head: RequestHead, body: bytes, *, ends: bool) -> bool:
        """Send the head with the first of its body."""
        answer = self.answer
        answer.reset(head_only=head.method == b"HEAD")
        length = len(body) if ends else head.length
        self._sending, self._full = not ends, False
        self._chunked = length is None
        if length is None:
            framing = b"transfer-encoding: chunked\r\n"
        elif length or head.method in _HAVE_BODIES:  # RFC 9110 §8.6
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
        owner = self._owner
        self.deadline = owner.now + (owner.first_byte_seconds if ends else owner.idle_seconds)
        self._head_bytes = len(data)
        self._send(data + body)
        return True

    def send_body(self, data: bytes) -> bool:
        """Send a piece of the body."""
        self.deadline = self._owner.now + self._owner.idle_seconds
        self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        self._full = self._out_bytes + self._wire.queued >= limits.buffer_bytes_max
        return not self._full

    def end_body(self, trailers: Sequence[HeaderField]) -> None:
        """End the body."""
        self._sending = False
        if self._chunked:
            self._send(b"0\r\n%b\r\n" % written(trailers))
        if not self.answer.status:
            self.deadline = self._owner.now + self._owner.first_byte_seconds

    def pause(self) -> None:
        """Read no more for now: the client is behind, and its own deadline runs."""
        self._wire.pause()
        self.deadline = float("inf")

    def resume(self) -> None:
        """Read on."""
        self._wire.resume()
        self.deadline = self._owner.now + self._owner.idle_seconds

    def release(self) -> None:
        """End the call; keep the connection if both sides are done with it, or have not begun."""
        if self.caller is None:
            return
        self.caller = None
        answer = self.answer
        # A client that takes its call back at once costs no connection. What the wire has been
        # given goes out whenever the kernel has room: its answer would be the next call's.
        unsaid = not self._given
        # Whatever is still to be said of a body would have the next request taken for its rest.
        is_sent = not (self._sending or self._out) and self._wire.sent == self._given
        done = unsaid or (answer.complete and answer.reusable and is_sent)
        self._owner.left(self, answered=answer.status > 0)
        if not done or not self._kept:
            self._end()
            return
        self._forget_unsaid()
        self._wire.resume()  # the answer may have come to its end while nobody wanted more
        self.fresh = self.fresh and unsaid
        self.deadline = self._owner.now + limits.upstream_keep_seconds
        if answer.bodyless and not unsaid:
            self._wire.acknowledge()
            self._owner.rests(self)
        else:
            self._owner.freed(self)

    # The wire's side.

    def received(self, data: bytes) -> None:
        """Take bytes of the answer."""
        caller = self.caller
        if caller is None:  # what nobody asked for
            self._end()
            return
        if self._wire.sent < self._head_bytes:  # nor did this call, which has yet to ask
            raise _UnaskedError("an answer without a request")
        self.answer.feed(data)
        self.deadline = self._owner.now + self._owner.idle_seconds
        caller.progressed()

    def drained(self) -> None:
        """Ask for more of the body, if it was enough for a while."""
        if self._full and self.caller is not None and self._wire.queued < limits.buffer_bytes_max:
            self._full = False
            self.caller.writable()

    def closed(self, error: OSError | None) -> None:
        """Take the end of the connection: perhaps that of the answer, perhaps too soon."""
        caller = self.caller
        if caller is None:
            self._end()
            return
        if error is not None:
            raise UpstreamError(f"the connection broke: {error.strerror}") from error
        self.answer.feed_end()
        caller.progressed()

    def failed(self, error: UpstreamError) -> None:
        """End the connection, and the call on it."""
        caller, self.caller = self.caller, None
        self._end()
        if caller is not None:
            self._owner.broke(self, caller, error, self._fate(error))

    def _fate(self, error: UpstreamError) -> DeliveryState:
        """Say what the server has seen of a call that failed (RFC 9112 §9.3.1, §9.6)."""
        if not self.touched:
            return DeliveryState.UNSEEN if self.fresh else DeliveryState.STALE
        # Also what is no answer: it was made for this request, or for none; the server is there.
        # And a server that is owed the rest of a request has nothing to answer yet.
        if self.answer.began or isinstance(error, _UnaskedError | StarvedError):
            return DeliveryState.ANSWERED
        closed = not self.fresh and not isinstance(error, UpstreamTimeoutError)
        return DeliveryState.MET_ITS_END if closed else DeliveryState.LOST

    def _is_starved(self) -> bool:
        """Whether the server has all that came of the body, and waits for more with us."""
        return self._sending and self._wire.sent == self._given and not self._out

    def _send(self, data: bytes) -> None:
        if not self._out:
            self._loop_hooks.write_at_end(self._write)
        self._out.append(data)
        self._out_bytes += len(data)

    def _write(self) -> None:
        """Give the kernel what was said in this turn."""
        out = self._out
        if not out:  # it was taken back
            return
        # What came since the last turn answers an earlier request, or none: this one must not be
        # there to be answered by it. The poller would only see it in the next turn.
        if not (self._wire.sent or self.fresh) and self._wire.is_stale():
            self.failed(_UnaskedError("the kept connection had ended, or had more to say"))
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        self._forget_unsaid()
        self._given += len(data)
        try:
            self._wire.send(data)
        except OSError:
            # Reading tells why, in the next turn: an answer may have come before the end.
            self._kept = False
            return
        self.drained()

    def _forget_unsaid(self) -> None:
        self._out.clear()
        self._out_bytes = 0

    def _end(self) -> None:
        self._forget_unsaid()
        self._wire.close()
        self._owner.ended(self)
