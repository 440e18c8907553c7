"""Tracks an application's response to the server, so that it can be ended early.

Every message passes unchanged; after the end of the call none does. `AbortableResponse.terminate`
decides what the client can still be told.
"""

from collections.abc import Callable, Iterable

from crewgate.core.audit.records import request_text
from crewgate.core.event_stream import ENDS
from crewgate.core.http_types import ASGIMessage, ASGISend, HeaderField
from crewgate.core.problems import event, of_running_call, refusal
from crewgate.core.verdict import Denial, problem_type
from crewgate.errors import StreamTerminatedError


class AbortableResponse:
    """A wrapper of the server's `send` for one application call."""

    def __init__(self, send: ASGISend, is_over: Callable[[], bool]) -> None:
        self.started = False
        self.ended = False
        self._send = send
        self._is_over = is_over
        self._streams_events = False
        self._trailers = False
        self._between_events = True
        self._is_sending = False  # stays True if a message was cancelled halfway

    async def send(self, message: ASGIMessage) -> None:
        """The application's `send`.

        Raises:
            ConnectionAbortedError: The call is over (an OSError).
        """
        if self._is_over():
            raise ConnectionAbortedError(
                "the call has been ended: nothing more is sent to its client"
            )
        self._note(message)
        self._is_sending = True
        await self._send(message)
        self._is_sending = False

    async def terminate(
        self, denial: Denial, request: bytes, challenge: bytes, asked: Iterable[HeaderField]
    ) -> None:
        """Tell the client why its call ends, if the state of the response still allows that.

        If it does not, the server must end the connection; an ASGI application can request that
        only by raising. (Hypercorn 0.18 does not end an HTTP/2 stream then: no more data arrives,
        and the client waits until its own timeout.)

        Raises:
            StreamTerminatedError: The client cannot be told any more.
        """
        if self.ended:
            return
        kind = of_running_call(problem_type(denial))
        if not self.started:
            reply = refusal(kind, request, denial, asked=asked, metadata=challenge)
            await respond(self._send, *reply)
        elif self._streams_events and self._between_events and not self._is_sending:
            body = event(kind, request, denial)
            await self._send({"type": "http.response.body", "body": body, "more_body": False})
        else:
            branch = "" if denial.grant is None else f" of branch {denial.grant.branch}"
            raise StreamTerminatedError(
                f"{kind.title}: the middleware ended the response to request "
                f"{request_text(request)}{branch}"
            )

    def _note(self, message: ASGIMessage) -> None:
        what = message["type"]
        if what == "http.response.start":
            self.started = True
            self._trailers = bool(message.get("trailers"))
            self._streams_events = _are_events(message.get("headers", ())) and not self._trailers
        elif what == "http.response.body":
            body = message.get("body", b"")
            if body:
                self._between_events = bytes(body[-4:]).endswith(ENDS)
            self.ended = not message.get("more_body", False) and not self._trailers
        elif what == "http.response.trailers":
            self.ended = not message.get("more_trailers", False)
        elif what == "http.response.pathsend":
            self.ended = not self._trailers
        else:
            self._between_events = False


async def respond(
    send: ASGISend, status: int, headers: list[HeaderField], body: bytes, *, head: bool = False
) -> None:
    """Send a whole response; `head` leaves the body out (RFC 9110, section 9.3.2)."""
    length = (b"content-length", str(len(body)).encode())
    start = {"type": "http.response.start", "status": status, "headers": [*headers, length]}
    await send(start)
    await send({"type": "http.response.body", "body": b"" if head else body})


def _are_events(headers: Iterable[Iterable[bytes]]) -> bool:
    """Return whether the headers are those of an uncompressed stream of server-sent events."""
    fields = {bytes(name).lower(): bytes(value) for name, value in headers}
    events = fields.get(b"content-type", b"").lower().startswith(b"text/event-stream")
    return events and b"content-encoding" not in fields and b"content-length" not in fields
