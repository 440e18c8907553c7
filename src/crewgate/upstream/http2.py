"""Carries many calls at once over an HTTP/2 connection to a tool's server, by nghttp2 (RFC 9113).

The connection writes at the end of a turn, the output of all its calls in one piece. The window of
a stream opens when the caller has taken the bytes. This module knows no permits.
"""

import socket

import ngh2
from ngh2 import Configuration, Connection, ErrorCode, Role, Setting

import crewgate.runtime.http2_self_test  # noqa: F401 - the import runs the test
from crewgate import limits
from crewgate._datapath import http2_engine
from crewgate._datapath.connection_pool import PoolCallbacks
from crewgate._datapath.http2_client_engine import HTTP2ClientEngine
from crewgate._datapath.socket_poller import SocketPoller
from crewgate._datapath.transport import Transport
from crewgate.core.delivery import ENDING, DeliveryState
from crewgate.errors import RequestBodyTimeoutError, UpstreamError, UpstreamTimeoutError
from crewgate.upstream.balancer import Host
from crewgate.upstream.error_isolation import run_isolated
from crewgate.upstream.http2_stalled_frame import StalledFrameDetector
from crewgate.upstream.http2_stream import ClientEngine, HTTP2Stream, StreamPart
from crewgate.upstream.interfaces import CallObserver, ReuseKey

_CONFIGURATION = Configuration(
    auto_window_update=False,
    max_inbound_header_list_size=limits.upstream_head_bytes_max,
    max_inbound_header_count=limits.upstream_fields_max + 1,  # one more for :status
)
_NO_HTTP2 = "the tool's server does not speak HTTP/2, or broke the protocol"
_SETTINGS = {
    Setting.ENABLE_PUSH: 0,
    Setting.INITIAL_WINDOW_SIZE: limits.upstream_window_bytes,
    Setting.MAX_HEADER_LIST_SIZE: limits.upstream_head_bytes_max,
    Setting.NO_RFC7540_PRIORITIES: 1,
}


def _client_engine() -> ClientEngine:
    """Return the native engine; ngh2's, which does the same, if that found no nghttp2."""
    if http2_engine.library is not None:
        return HTTP2ClientEngine(_CONFIGURATION)
    return Connection(Role.CLIENT, _CONFIGURATION)


class HTTP2Connection:
    """One connection and the streams on it.

    `blocked` are the streams whose caller waits until less of the body is queued.
    """

    def __init__(
        self,
        sock: socket.socket,
        poller: SocketPoller,
        pool: PoolCallbacks,
        authority: bytes,
        host: Host,
    ) -> None:
        self.host = host
        self.reuse_key: ReuseKey | None = None
        self.authority = authority
        self.scheme = b"https" if host.endpoint.scheme == "https" else b"http"
        self.pool = pool
        self.engine = _client_engine()
        self.blocked: set[HTTP2Stream] = set()
        self._frames = StalledFrameDetector()
        self._streams: dict[int, HTTP2Stream] = {}
        self._poller = poller
        self._used_at = pool.now  # when it last carried a call, in monotonic seconds
        self._has_answered = False
        self._malformed_count = 0  # how many responses were malformed
        # The server's settings have arrived, so it speaks HTTP/2.
        self._has_settings = False
        self._is_offered = True  # the pool knows that another call may begin
        self._is_closing = False  # the connection accepts no further call
        self._is_over = False
        self._write_is_due = False
        self.transport = Transport(sock, poller, self)
        self.engine.initiate_connection(_SETTINGS)
        self.engine.set_local_window_size(
            limits.upstream_window_bytes * limits.upstream_streams_max
        )
        self.wake()

    # `UpstreamConnection`, for the pool.

    @property
    def free_streams(self) -> int:
        """How many further calls the connection may carry now."""
        if self._is_closing or not self.engine.can_send_request:
            return 0
        server_max = self.engine.remote_settings.get(Setting.MAX_CONCURRENT_STREAMS, 100)
        return max(0, min(server_max, limits.upstream_streams_max) - len(self._streams))

    @property
    def is_idle(self) -> bool:
        """Whether the connection carries no call."""
        return not self._streams

    def is_usable(self, caller: CallObserver) -> bool:
        """Return whether a call may begin, and the server is not in the middle of a late frame.

        A server may close a connection after a rest while a call is on its way. A call that must
        not be sent twice uses only a connection that rests for a short time.
        """
        if self.free_streams == 0 or self._frames.is_late:
            return False
        may_repeat = caller.idempotent and self.pool.retries
        rest = 0.0 if self._streams else self.pool.now - self._used_at
        return may_repeat or rest <= limits.upstream_safe_rest_seconds

    def carry(self, caller: CallObserver) -> None:
        """Begin a call; if it uses the last free stream, `_offer` reports the next free one."""
        self._is_offered = self.free_streams > 1
        stream = HTTP2Stream(self, caller)
        caller.begun(stream)
        if stream.is_refused:
            self._on_refused(stream)

    def sweep(self, now: float) -> None:
        """Fail calls that are overdue at `now`; close the connection if unused for too long."""
        # If there is unread input, this process is late and not the server.
        if self._frames.seconds(now) > limits.upstream_frame_seconds_max and (
            not self.transport.is_stale()
        ):
            self._break_stalled()
            return
        if not self._streams:
            keep = self.pool.keep_seconds
            if not self._has_answered:  # if the server closes it, that counts as a failure
                keep = min(keep, limits.upstream_safe_rest_seconds)
            if now > self._used_at + keep:
                self._end()
            return
        self._used_at = now
        for stream in list(self._streams.values()):
            if now <= stream.deadline:
                continue
            if stream.is_starved:
                stream.reset = True
                self._fail(stream, RequestBodyTimeoutError())
            else:
                error = UpstreamTimeoutError("the tool's server did not respond in time")
                self._fail(stream, error)

    def close(self) -> None:
        """Accept no further call; close at once, or after the last call."""
        self._is_closing = True
        if not self._streams:
            self._end()

    def abort(self, reason: str = ENDING) -> None:
        """Close at once, and fail the calls under way with `reason`."""
        self._break(UpstreamError(reason), DeliveryState.LOST_TOO)

    # `StreamHost`, for the streams.

    def opened(self, number: int, stream: HTTP2Stream) -> None:
        """Add a stream that has begun."""
        self._streams[number] = stream
        self.wake()

    def left(self, number: int, stream: HTTP2Stream, *, unfinished: bool) -> None:
        """Forget a stream that its caller has released; reset it if `unfinished`."""
        if self._streams.pop(number, None) is None:
            return
        self.blocked.discard(stream)
        self._used_at = self.pool.now
        if unfinished:
            self._reset(number, ErrorCode.CANCEL)
        self.pool.left(self, answered=stream.status > 0)
        self._offer()

    def wake(self) -> None:
        """Write the queued output at the end of this turn."""
        if not self._write_is_due:
            self._write_is_due = True
            self._poller.write_at_end(self._write)

    # `TransportCallbacks`, for the transport.

    def received(self, data: bytes) -> None:
        """Parse bytes from the server."""
        self._frames.feed(data)
        try:
            self.engine.receive_data(data)
        except ngh2.NGH2Error as error:
            self._take_events()  # events that were complete before the error
            raise UpstreamError(_NO_HTTP2) from error
        self._take_events()
        self._offer()
        if self.engine.want_write:
            self.wake()

    def drained(self) -> None:
        """Write more output, if there is any."""
        self.wake()

    def closed(self, error: OSError | None) -> None:
        """Fail the calls under way, because the server closed the connection or it broke."""
        reason = error.strerror if error else "the server closed it"
        # As over HTTP/1.1, a connection that has carried calls may end at any time (RFC 9112 §9.6).
        sent_state = DeliveryState.MET_ITS_END if self._has_answered else DeliveryState.LOST
        self._break(UpstreamError(f"the server's connection broke: {reason}"), sent_state)

    def failed(self, error: UpstreamError) -> None:
        """Close the connection, and fail every call on it.

        A server that speaks HTTP/2 and then breaks the protocol is running. The response to one
        branch's call must not open the circuit for all branches (see `circuit_breaker`).
        """
        self._break(error, DeliveryState.BREACHED if self._has_settings else DeliveryState.LOST)

    def _break(self, error: UpstreamError, sent_state: DeliveryState) -> None:
        """Close the connection, and fail its calls; those that were sent get `sent_state`.

        If that is LOST, the first call gets it and the others LOST_TOO, so that the pool counts one
        failure. A stream whose response is complete stays, until its caller has taken it.
        """
        streams, self._streams = self._streams, {}
        for number in [number for number, stream in streams.items() if stream.complete]:
            self._streams[number] = streams.pop(number)
        self._end()
        for stream in streams.values():
            delivery = stream.delivery
            if delivery is DeliveryState.LOST:
                delivery = sent_state
                if sent_state is DeliveryState.LOST:
                    sent_state = DeliveryState.LOST_TOO
            run_isolated(self.pool.broke, self, stream.caller, error, delivery)

    def _break_stalled(self) -> None:
        """Close a connection whose server has not finished a frame or a header block in time.

        The call of that frame is not retried: it would do the same to another connection.
        """
        stream = self._streams.get(self._frames.stream)
        if stream is not None:
            stream.reset = True
        self.failed(UpstreamTimeoutError("the tool's server did not finish a frame in time"))

    def _on_refused(self, stream: HTTP2Stream) -> None:
        """Fail a call whose request the engine refused, as a whole or after its head."""
        self._is_closing = True
        if stream.number:
            self._reset(stream.number, ErrorCode.CANCEL)
        error = UpstreamError("the connection to the tool's server accepts no request")
        delivery = DeliveryState.ANSWERED if stream.number else DeliveryState.UNSEEN
        self.pool.broke(self, stream.caller, error, delivery)
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
                    self._has_settings = True
                case _:
                    pass  # the engine handles pings and windows

    def _answer(self, event: StreamPart) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:  # the caller has released the stream
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
            self._fail(stream, UpstreamError(f"the tool's server reset the stream (code {code})"))

    def _closed_by_engine(self, event: ngh2.StreamClosed) -> None:
        """Fail a stream that the engine closed before the server ended it.

        nghttp2 resets a stream with a malformed response (RFC 9113 §8.1.1), and reports it here
        once its RST_STREAM has been sent. Or it could not send the request.
        """
        stream = self._streams.get(event.stream_id)
        if stream is None or stream.complete:
            return
        if event.local_error is not None and stream.disown():
            self._fail(stream, UpstreamError(f"cannot send the request: {event.local_error}"))
            return
        stream.reset = True
        self._malformed_count += 1
        if self._malformed_count >= limits.upstream_malformed_max:
            self._is_closing = True
        self._fail(stream, UpstreamError("the tool's server sent a malformed response"))

    def _go_away(self, last_number: int) -> None:
        """Accept no further call; the server processes no stream above `last` (RFC 9113 §6.8)."""
        self._is_closing = True
        for number, stream in list(self._streams.items()):
            if number > last_number and stream.disown():
                self._fail(stream, UpstreamError("the tool's server is shutting down (GOAWAY)"))
        if not self._streams:
            self._end()

    def _fail(self, stream: HTTP2Stream, error: UpstreamError) -> None:
        number = stream.number
        if self._streams.pop(number, None) is None:
            return
        self.blocked.discard(stream)
        if not stream.complete:
            self._reset(number, ErrorCode.CANCEL)
        self.pool.broke(self, stream.caller, error, stream.delivery)
        self._offer()

    def _offer(self) -> None:
        """Tell the pool once that a stream is free again; or close after the last call."""
        if self._is_closing and not self._streams:
            self._end()
        elif not self._is_offered and self.free_streams:
            self._is_offered = True
            self.pool.freed(self)

    def acknowledge(self, number: int, count: int) -> None:
        """Open the windows of the stream and of the connection by `count` bytes."""
        try:
            self.engine.acknowledge_received_data(count, number)
        except (ngh2.NGH2Error, ValueError):
            return  # the connection has ended
        self.wake()

    def _reset(self, number: int, code: int) -> None:
        try:
            self.engine.reset_stream(number, code)
        except ngh2.NGH2Error:
            return
        self.wake()

    def _write(self) -> None:
        """Write the output of all streams, while the transport queues little."""
        self._write_is_due = False
        if self._is_over:
            return
        transport = self.transport
        try:
            while transport.queued < limits.send_bytes:
                data = self.engine.data_to_send(limits.send_bytes)
                if not data:
                    break
                transport.send(data)
            is_over = not self.engine.want_read
        except OSError:
            return  # the next read tells the cause
        except ngh2.NGH2Error:
            is_over = True
        self._take_events()  # streams whose last frame was just produced are closed
        if is_over:  # the engine has ended the session; the server may not close
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
            self.transport.close()
            self.pool.ended(self)
