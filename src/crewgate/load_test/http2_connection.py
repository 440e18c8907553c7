"""One HTTP/2 connection of the client, without its socket: sends requests, reads answers.

The engine keeps the windows open, so no answer waits for this client.
"""

from collections.abc import Callable

import ngh2
from ngh2 import Configuration, Connection, Role, Setting

import crewgate.runtime.http2_self_test  # noqa: F401 - the import runs the test
from crewgate import limits
from crewgate.load_test.plan import Request
from crewgate.load_test.result import SUCCESS

_WINDOW_BYTES = 2**24  # of each stream and of the connection: far above what is under way at once
_SETTINGS = {Setting.ENABLE_PUSH: 0, Setting.INITIAL_WINDOW_SIZE: _WINDOW_BYTES}
_FIRST_STREAMS = 100  # until the server gives its own number (RFC 9113, section 6.5.2)


class _Open:
    """A request without its whole answer; its time counts from `began`."""

    __slots__ = ("began", "body", "status")

    def __init__(self, began: float) -> None:
        self.began = began
        self.status = 0
        self.body = b""


# Gets the time when the request began, its status (0 if the answer did not end), and the beginning
# of the body of an answer that is not 2xx.
AnswerCallback = Callable[[float, int, bytes], None]


class ClientConnection:
    """Repeats one request, and calls `on_answer` when a stream has ended."""

    def __init__(self, request: Request, streams: int, on_answer: AnswerCallback) -> None:
        self._request = request
        self._head = request.head
        self._streams = streams
        self._allowed = _FIRST_STREAMS
        self._on_answer = on_answer
        self._open: dict[int, _Open] = {}
        self._is_over = False
        self._engine = Connection(Role.CLIENT, Configuration())
        self._engine.initiate_connection(_SETTINGS)
        self._engine.set_local_window_size(_WINDOW_BYTES)

    @property
    def open_count(self) -> int:
        """Requests without a whole answer."""
        return len(self._open)

    @property
    def is_closing(self) -> bool:
        """Whether the server takes no further request on this connection."""
        if self._is_over:
            return True
        try:
            return not self._engine.can_send_request
        except ngh2.NGH2Error:  # the engine is unusable after an error
            return True

    @property
    def has_free_stream(self) -> bool:
        """Whether a further request may be sent now."""
        return len(self._open) < min(self._streams, self._allowed) and not self.is_closing

    def send_request(self, began: float) -> None:
        """Send the request; its time counts from `began`."""
        body = self._request.body
        stream = self._engine.send_request(self._head, end_stream=not body)
        if body:
            self._engine.send_data(stream, body, end_stream=True)
        self._open[stream] = _Open(began)

    def output(self) -> bytes:
        """Return the bytes to send."""
        if self._is_over:
            return b""
        try:
            data = self._engine.data_to_send()
        except ngh2.NGH2Error:
            self.end()
            return b""
        self._handle_events()
        return data

    def receive(self, data: bytes) -> None:
        """Take bytes from the server."""
        try:
            self._engine.receive_data(data)
        except ngh2.NGH2Error:
            self.end()
            return
        self._handle_events()

    def end(self) -> None:
        """Give up all open requests: the connection is closed or broken."""
        self._is_over = True
        lost, self._open = self._open, {}
        for each in lost.values():
            self._on_answer(each.began, 0, b"")

    def _handle_events(self) -> None:
        for event in self._engine.events():
            if isinstance(event, ngh2.StreamClosed):
                self._close(event)
            elif isinstance(event, ngh2.ResponseReceived):
                if event.stream_id in self._open:
                    self._open[event.stream_id].status = _status_of(event)
            elif isinstance(event, ngh2.DataReceived):
                self._keep(event)
            elif isinstance(event, ngh2.SettingsReceived):
                self._allowed = self._engine.remote_settings.get(
                    Setting.MAX_CONCURRENT_STREAMS, _FIRST_STREAMS
                )
            elif isinstance(event, ngh2.ConnectionClosed):
                self.end()

    def _keep(self, event: ngh2.DataReceived) -> None:
        """Keep the beginning of the body of a refusal."""
        each = self._open.get(event.stream_id)
        most = limits.load_test_problem_bytes_max
        if each is not None and each.status not in SUCCESS and len(each.body) < most:
            each.body += event.data[:most]

    def _close(self, event: ngh2.StreamClosed) -> None:
        each = self._open.pop(event.stream_id, None)
        if each is not None:
            status = 0 if event.error_code else each.status
            self._on_answer(each.began, status, each.body)


def _status_of(event: ngh2.ResponseReceived) -> int:
    """Return the status of an answer; nghttp2 has checked that it has three digits."""
    return next(int(value) for name, value in event.headers if name == b":status")
