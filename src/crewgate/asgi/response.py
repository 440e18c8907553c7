"""An application's answer on its way to the server: how far it is, and how it can be cut.

Decides what may still be said to the client. Passes every message on unchanged, and nothing more
once the call is over. Knows no event loop.
"""

from collections.abc import Callable, Iterable

from crewgate.core.http import ASGIMessage, ASGISend, HeaderField
from crewgate.core.pricing.sse import ENDS
from crewgate.core.problem_types import ProblemType
from crewgate.core.problems import event, refusal
from crewgate.core.verdict import Denial
from crewgate.errors import StreamTerminatedError


class CuttableResponse:
    """Stands between an application and the server's `send`."""

    def __init__(self, send: ASGISend, is_over: Callable[[], bool]) -> None:
        self.started = False
        self.ended = False
        self._send = send
        self._is_over = is_over
        self._streams_events = False
        self._trailers = False
        self._between_events = True
        self._torn = False  # a message was cut while it was being sent

    async def send(self, message: ASGIMessage) -> None:
        """The application's `send`.

        Raises:
            ConnectionAbortedError: The call is over (an OSError).
        """
        if self._is_over():
            raise ConnectionAbortedError("the branch of this call is dead: nothing more is sent")
        self._note(message)
        self._torn = True
        await self._send(message)
        self._torn = False

    async def terminate(
        self, kind: ProblemType, request: bytes, challenge: bytes, asked: Iterable[HeaderField]
    ) -> None:
        """Tell the client why its call ends, in whatever way is still open.

        If none is, the server must end the connection, which an ASGI application can only ask for
        by failing. (Hypercorn 0.18 ends no HTTP/2 stream then: no more data comes, and the client's
        own timeout ends its wait.)

        Raises:
            StreamTerminatedError: No way is open.
        """
        if self.ended:
            return
        if not self.started:
            await answer(self._send, kind, request, challenge, asked=asked)
        elif self._streams_events and self._between_events and not self._torn:
            last = {"type": "http.response.body", "body": event(kind, request), "more_body": False}
            await self._send(last)
        else:
            raise StreamTerminatedError(f"{kind.title}: its answer was cut")

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


async def answer(
    send: ASGISend,
    kind: ProblemType,
    request: bytes,
    metadata: bytes,
    *,
    asked: Iterable[HeaderField],
    denial: Denial | None = None,
    scope: str = "",
    head: bool = False,
) -> None:
    """Answer with a problem, in the words of the gateway; `asked` are the request's fields."""
    said = refusal(kind, request, denial, asked=asked, metadata=metadata, scope=scope)
    await respond(send, *said, head=head)


async def respond(
    send: ASGISend, status: int, headers: list[HeaderField], body: bytes, *, head: bool = False
) -> None:
    """A whole answer; `head` leaves the body out (RFC 9110, section 9.3.2)."""
    length = (b"content-length", str(len(body)).encode())
    start = {"type": "http.response.start", "status": status, "headers": [*headers, length]}
    await send(start)
    await send({"type": "http.response.body", "body": b"" if head else body})


def _are_events(headers: Iterable[Iterable[bytes]]) -> bool:
    """A stream of server-sent events that is not compressed."""
    said = {bytes(name).lower(): bytes(value) for name, value in headers}
    events = said.get(b"content-type", b"").lower().startswith(b"text/event-stream")
    return events and b"content-encoding" not in said and b"content-length" not in said
