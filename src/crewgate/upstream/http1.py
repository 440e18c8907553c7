"""A kept HTTP/1.1 connection to a tool's server: one call at a time (RFC 9112).

Says how a request is framed and when the connection may carry another. Knows neither permits nor
which server it leads to; deadlines are looked at by `sweep`, not by a timer each.
"""

import socket
from collections.abc import Sequence

from crewgate import limits
from crewgate._native.fields import written
from crewgate.errors import UpstreamError, UpstreamTimeoutError
from crewgate.upstream.call import Caller, Fate, Field, Head, Owner
from crewgate.upstream.members import Member
from crewgate.upstream.response import Response
from crewgate.upstream.wire import Turns, Wire

_HAVE_BODIES = frozenset({b"POST", b"PUT", b"PATCH"})


class HTTP1Connection:
    """One connection, the call that it carries, and that call's answer. Is a `Carrier`."""

    __slots__ = (
        "_chunked",
        "_kept",
        "_owner",
        "_sending",
        "_wire",
        "answer",
        "authority",
        "caller",
        "deadline",
        "fresh",
        "member",
    )

    def __init__(
        self, sock: socket.socket, turns: Turns, owner: Owner, authority: bytes, member: Member
    ) -> None:
        self.member = member
        self.authority = authority
        self.caller: Caller | None = None
        self.answer = Response()
        self.fresh = True  # it has carried no call yet
        self._kept = True  # it may carry another call after this one
        self._owner = owner
        self.deadline = owner.now + limits.upstream_keep_seconds
        self._sending = False  # the body of the request has not come to its end
        self._chunked = False
        self._wire = Wire(sock, turns, self)

    def __repr__(self) -> str:
        return f"<HTTP1Connection {'idle' if self.caller is None else 'busy'}>"

    @property
    def room(self) -> int:
        """How many further calls it may carry now."""
        return 1 if self.caller is None else 0

    @property
    def touched(self) -> bool:
        """Whether the kernel has a byte of the call."""
        return self._wire.sent > 0

    def is_usable(self, caller: Caller) -> bool:
        """Return whether the connection is alive, as far as one can see.

        A closed one is noticed by the poller in its next turn. A request that must not be sent
        twice is worth a system call to see what came within this one.
        """
        return caller.idempotent or self.fresh or not self._wire.is_stale()

    def carry(self, caller: Caller) -> None:
        """Begin a call."""
        self.caller = caller
        self._wire.sent = 0
        caller.begun(self)

    def sweep(self, now: float) -> None:
        """Break off what takes too long, close what was long unused."""
        if now <= self.deadline:
            return
        if self.caller is None:
            self._end()
        else:
            self.failed(UpstreamTimeoutError("the tool's server took too long"))

    def close(self) -> None:
        """Close if it is idle; else after its call."""
        if self.caller is None:
            self._end()
        else:
            self._kept = False

    def abort(self) -> None:
        """Close, and fail the call under way."""
        self.failed(UpstreamError("the gateway is ending"))

    # The caller's side.

    def begin(self, head: Head, body: bytes, *, ends: bool) -> bool:
        """Send the head with the first of its body; False if the connection is dead."""
        answer = self.answer
        answer.reset(head_only=head.method == b"HEAD")
        length = len(body) if ends else head.length
        self._sending = not ends
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
        return self._send(data + body)

    def send_body(self, data: bytes) -> bool:
        """Send a piece of the body."""
        self.deadline = self._owner.now + self._owner.idle_seconds
        self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        return self._wire.queued < limits.buffer_bytes_max

    def end_body(self, trailers: Sequence[Field]) -> None:
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
        """End the call; keep the connection if both sides are done with it."""
        if self.caller is None:
            return
        self.caller = None
        answer = self.answer
        done = answer.complete and answer.reusable and not self._sending
        self._owner.left(self, answered=answer.status > 0)
        if not done or not self._kept or self._wire.queued:
            self._end()
            return
        self.fresh = False
        self.deadline = self._owner.now + limits.upstream_keep_seconds
        self._owner.freed(self)

    # The wire's side.

    def received(self, data: bytes) -> None:
        """Take bytes of the answer."""
        caller = self.caller
        if caller is None:  # what nobody asked for
            self._end()
            return
        self.answer.feed(data)
        self.deadline = self._owner.now + self._owner.idle_seconds
        caller.progressed()

    def drained(self) -> None:
        """Ask for more of the body."""
        if self._sending and self.caller is not None:
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

    def _fate(self, error: UpstreamError) -> Fate:
        """Say what the server has seen of a call that failed (RFC 9112 §9.3.1, §9.6)."""
        if not self.touched:
            return Fate.UNSEEN
        if self.answer.began:  # also what is no answer: it was made for this request
            return Fate.ANSWERED
        closed = not self.fresh and not isinstance(error, UpstreamTimeoutError)
        return Fate.MET_ITS_END if closed else Fate.LOST

    # Inside.

    def _send(self, data: bytes) -> bool:
        try:
            self._wire.send(data)
        except OSError:
            # Reading tells why, in the next turn: an answer may have come before the end.
            self._kept = False
            return False
        return True

    def _end(self) -> None:
        self._wire.close()
        self._owner.ended(self)
