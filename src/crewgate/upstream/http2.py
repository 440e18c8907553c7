"""An HTTP/2 connection to a tool's server: many calls at once, over ngh2 (RFC 9113).

Writes at the end of a turn, what all its calls have to say in one piece. A stream's window opens
when its caller has taken what came. Knows neither permits nor which server it leads to.
"""

import socket

import ngh2
from ngh2 import Configuration, Connection, ErrorCode, Role, Setting

from crewgate import limits
from crewgate.errors import UpstreamError, UpstreamTimeoutError
from crewgate.upstream.balancer import Host
from crewgate.upstream.error_barrier import guarded
from crewgate.upstream.http2_frames import FrameTracker
from crewgate.upstream.http2_stream import HTTP2Stream, StreamPart
from crewgate.upstream.interfaces import (
    ENDING,
    CallObserver,
    DeliveryState,
    PoolCallbacks,
    ReuseKey,
    StarvedError,
)
from crewgate.upstream.transport import EventLoopHooks, Transport

_CONFIGURATION = Configuration(
    auto_window_update=False,
    max_inbound_header_list_size=limits.upstream_head_bytes_max,
    max_inbound_header_count=limits.upstream_fields_max + 1,  # :status
)
_NO_HTTP2 = "the tool's server does not speak HTTP/2, or breaks its rules"
_SETTINGS = {
    Setting.ENABLE_PUSH: 0,
    Setting.INITIAL_WINDOW_SIZE: limits.upstream_window_bytes,
    Setting.MAX_HEADER_LIST_SIZE: limits.upstream_head_bytes_max,
    Setting.NO_RFC7540_PRIORITIES: 1,
}


class HTTP2Connection:
    """One connection and the streams on it."""

    def __init__(
        self,
        sock: socket.socket,
        loop_hooks: EventLoopHooks,
        owner: PoolCallbacks,
        authority: bytes,
        member: Host,
    ) -> None:
        self.member = member
        self.reuse_key: ReuseKey | None = None
        self.authority = authority
        self.scheme = b"https" if member.endpoint.scheme == "https" else b"http"
        self.owner = owner
        self.engine = Connection(Role.CLIENT, _CONFIGURATION)
        self.blocked: set[HTTP2Stream] = set()  # who waits until less is queued
        self._frames = FrameTracker()
        self._streams: dict[int, HTTP2Stream] = {}
        self._loop_hooks = loop_hooks
        self._deadline = owner.now + limits.upstream_keep_seconds
        self._has_answered = False
        self._malformed = 0  # answers
        self._has_greeted = False  # it speaks HTTP/2: its settings have come
        self._is_offered = True  # the pool knows that there is room
        self._is_closing = False  # takes no further call
        self._is_over = False
        self._write_is_due = False
        self.wire = Transport(sock, loop_hooks, self)
        self.engine.initiate_connection(_SETTINGS)
        self.engine.set_local_window_size(
            limits.upstream_window_bytes * limits.upstream_streams_max
        )
        self.wake()

    def __repr__(self) -> str:
        return f"<HTTP2Connection with {len(self._streams)} streams>"

    # The pool's side.

    @property
    def free_streams(self) -> int:
        """How many further calls it may carry now."""
        if self._is_closing or not self.engine.can_send_request:
            return 0
        theirs = self.engine.remote_settings.get(Setting.MAX_CONCURRENT_STREAMS, 100)
        return max(0, min(theirs, limits.upstream_streams_max) - len(self._streams))

    @property
    def is_idle(self) -> bool:
        """Whether it carries no call."""
        return not self._streams

    def is_usable(self, caller: CallObserver) -> bool:  # noqa: ARG002 - streams fail one by one
        """Return whether it takes calls, and its server answers them."""
        return self.free_streams > 0 and not self._frames.is_late

    def carry(self, caller: CallObserver) -> None:
        """Begin a call; the pool takes the last room for taken."""
        self._is_offered = self.free_streams > 1
        stream = HTTP2Stream(self, caller)
        caller.begun(stream)
        if stream.is_refused:
            self._refused(stream)

    def sweep(self, now: float) -> None:
        """Break off what takes too long, close what was long unused."""
        # If there is something to read, it is we who are behind.
        if self._frames.seconds(now) > limits.upstream_frame_seconds_max and (
            not self.wire.is_stale()
        ):
            self._break_stalled()
            return
        if not self._streams:
            if now > self._deadline:
                self._end()
            return
        self._deadline = now + limits.upstream_keep_seconds
        for stream in list(self._streams.values()):
            if now <= stream.deadline:
                continue
            if stream.is_starved:
                stream.reset = True
                self._fail(stream, StarvedError())
            else:
                self._fail(stream, UpstreamTimeoutError("the tool's server took too long"))

    def close(self) -> None:
        """Take no further call; close when there is none."""
        self._is_closing = True
        if not self._streams:
            self._end()

    def abort(self, why: str = ENDING) -> None:
        """Close, and fail the calls under way."""
        self._break(UpstreamError(why), DeliveryState.LOST_TOO)

    # The streams' side.

    def opened(self, number: int, stream: HTTP2Stream) -> None:
        """Take a stream that has begun."""
        self._streams[number] = stream
        self.wake()

    def left(self, number: int, stream: HTTP2Stream, *, unfinished: bool) -> None:
        """Forget a stream whose caller wants nothing more."""
        if self._streams.pop(number, None) is None:
            return
        self.blocked.discard(stream)
        if unfinished:
            self._reset(number, ErrorCode.CANCEL)
        self.owner.left(self, answered=stream.status > 0)
        self._offer()

    def wake(self) -> None:
        """Write at the end of this turn."""
        if not self._write_is_due:
            self._write_is_due = True
            self._loop_hooks.write_at_end(self._write)

    # The wire's side.

    def received(self, data: bytes) -> None:
        """Take bytes."""
        self._frames.feed(data)
        try:
            self.engine.receive_data(data)
        except ngh2.NGH2Error as error:
            self._take_events()  # what was whole before it
            raise UpstreamError(_NO_HTTP2) from error
        self._take_events()
        self._offer()
        if self.engine.want_write:
            self.wake()

    def drained(self) -> None:
        """Write on."""
        self.wake()

    def closed(self, error: OSError | None) -> None:
        """Take the end of the connection."""
        reason = error.strerror if error else "the tool's server closed it"
        # As over HTTP/1.1: a connection that has carried calls may end at any time (RFC 9112 §9.6).
        lost = DeliveryState.MET_ITS_END if self._has_answered else DeliveryState.LOST
        self._break(UpstreamError(f"the connection broke: {reason}"), lost)

    def failed(self, error: UpstreamError) -> None:
        """End the connection, and every call on it.

        A server that speaks HTTP/2 and breaks its rules is there: an answer to one call, which
        others may have asked for, must not have it given up (`breaker`).
        """
        self._break(error, DeliveryState.BREACHED if self._has_greeted else DeliveryState.LOST)

    def _break(self, error: UpstreamError, lost: DeliveryState) -> None:
        """End the connection; what its server may have seen is `lost`, and one failure of it.

        An answer that is whole has yet to be taken: nothing is lost of it.
        """
        streams, self._streams = self._streams, {}
        for number in [number for number, stream in streams.items() if stream.complete]:
            self._streams[number] = streams.pop(number)
        self._end()
        for stream in streams.values():
            fate = stream.fate
            if fate is DeliveryState.LOST:
                fate, lost = lost, DeliveryState.LOST_TOO if lost is DeliveryState.LOST else lost
            guarded(self.owner.broke, self, stream.caller, error, fate)

    def _break_stalled(self) -> None:
        """End a connection whose server has left a frame, or a header block, without its end.

        The call whose frame it was is not tried again: it would do the same to another connection.
        """
        stream = self._streams.get(self._frames.stream)
        if stream is not None:
            stream.reset = True
        self.failed(UpstreamTimeoutError("the tool's server did not end what it had begun to say"))

    def _refused(self, stream: HTTP2Stream) -> None:
        """Take that the engine has made nothing of a request, or its head alone."""
        self._is_closing = True
        if stream.number:
            self._reset(stream.number, ErrorCode.CANCEL)
        error = UpstreamError("the connection to the tool's server takes no request")
        fate = DeliveryState.ANSWERED if stream.number else DeliveryState.UNSEEN
        self.owner.broke(self, stream.caller, error, fate)
        self._offer()

    def _take_events(self) -> None:
        for event in self.engine.events():
            match event:
                case ngh2.ResponseReceived() | ngh2.DataReceived() | ngh2.TrailersReceived():
                    self._answer(event)
                case ngh2.InformationalResponseReceived():
                    self._answer(event)
                case ngh2.StreamReset():
                    self._reset_by_server(event)
                case ngh2.StreamClosed():
                    self._closed_by_engine(event)
                case ngh2.GoAwayReceived():
                    self._go_away(event.last_stream_id)
                case ngh2.SettingsReceived():
                    self._has_greeted = True
                case _:
                    pass  # pings and windows are the engine's business

    def _answer(self, event: StreamPart) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:  # of a stream that nobody wants any more
            if isinstance(event, ngh2.DataReceived):
                self.acknowledge(event.stream_id, len(event.data))
            return
        try:
            stream.take_part(event)
            self._has_answered = True
        except UpstreamError as error:
            stream.reset = True
            self._fail(stream, error)
            return
        if not stream.paused:
            stream.caller.progressed()

    def _reset_by_server(self, event: ngh2.StreamReset) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        if event.error_code == ErrorCode.REFUSED_STREAM:
            stream.disown()  # RFC 9113 §8.7
        stream.reset = True
        if not stream.complete:
            code = event.error_code
            self._fail(stream, UpstreamError(f"the tool's server broke it off (code {code})"))

    def _closed_by_engine(self, event: ngh2.StreamClosed) -> None:
        """Take the end of a stream that the server has not ended.

        nghttp2 breaks off what is no answer (RFC 9113 §8.1.1) and says so here, once its RST_STREAM
        has gone out; or it could not send the request.
        """
        stream = self._streams.get(event.stream_id)
        if stream is None or stream.complete:
            return
        if event.local_error is not None and stream.disown():
            self._fail(stream, UpstreamError(f"the request cannot be sent: {event.local_error}"))
            return
        stream.reset = True
        self._malformed += 1
        if self._malformed >= limits.upstream_malformed_max:
            self._is_closing = True
        self._fail(stream, UpstreamError("the tool's server gave a malformed answer"))

    def _go_away(self, last: int) -> None:
        """Take no further call; those above `last` were not looked at (RFC 9113 §6.8)."""
        self._is_closing = True
        for number, stream in list(self._streams.items()):
            if number > last and stream.disown():
                self._fail(stream, UpstreamError("the tool's server is going away"))
        if not self._streams:
            self._end()

    def _fail(self, stream: HTTP2Stream, error: UpstreamError) -> None:
        number = stream.number
        if self._streams.pop(number, None) is None:
            return
        self.blocked.discard(stream)
        if not stream.complete:
            self._reset(number, ErrorCode.CANCEL)
        self.owner.broke(self, stream.caller, error, stream.fate)
        self._offer()

    def _offer(self) -> None:
        """Say that there is room again, once, after all of it was taken; end if there is no use."""
        if self._is_closing and not self._streams:
            self._end()
        elif not self._is_offered and self.free_streams:
            self._is_offered = True
            self.owner.freed(self)

    def acknowledge(self, number: int, count: int) -> None:
        """Open the windows by `count` bytes."""
        try:
            self.engine.acknowledge_received_data(count, number)
        except (ngh2.NGH2Error, ValueError):
            return  # the connection is over
        self.wake()

    def _reset(self, number: int, code: int) -> None:
        try:
            self.engine.reset_stream(number, code)
        except ngh2.NGH2Error:
            return
        self.wake()

    def _write(self) -> None:
        """Give the kernel what all streams have to say; keep little of it back."""
        self._write_is_due = False
        if self._is_over:
            return
        wire = self.wire
        try:
            while wire.queued < limits.send_bytes:
                data = self.engine.data_to_send(limits.send_bytes)
                if not data:
                    break
                wire.send(data)
            is_over = not self.engine.want_read
        except OSError:
            return  # reading tells why, in the next turn
        except ngh2.NGH2Error:
            is_over = True
        self._take_events()  # the ends of streams whose last frame has just been made
        if is_over:  # we have said so to its server, who may stay
            self.failed(UpstreamError(_NO_HTTP2))
            return
        for stream in list(self.blocked):
            if not stream.is_full():
                self.blocked.discard(stream)
                stream.caller.writable()

    def _end(self) -> None:
        self._is_closing = True
        if not self._is_over:
            self._is_over = True
            self.wire.close()
            self.owner.ended(self)
