"""Sends a request of the gateway's own to an upstream, and collects the whole response.

No client waits for it, so the request has its body from the start, and the response is bounded.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import trio

from crewgate._native.fields import written
from crewgate.core.http_types import HeaderField
from crewgate.errors import UpstreamError
from crewgate.upstream.interfaces import RequestHead, RequestStream, ReuseKey
from crewgate.upstream.pool import UpstreamPool

if TYPE_CHECKING:
    from crewgate._native.permit import Permit


class OwnRequest(NamedTuple):
    """A request: `fields` are all its header fields, without Host and framing fields."""

    method: bytes
    target: bytes
    fields: tuple[HeaderField, ...]
    body: bytes = b""

    def __repr__(self) -> str:
        """Omit fields and target, which hold secrets."""
        return f"<OwnRequest {self.method!r}>"


class BufferedResponse(NamedTuple):
    """A whole response; `headers` has its trailers too."""

    status: int
    headers: list[HeaderField]
    body: bytes


def _unbounded(_size: int) -> bool:
    return True


async def send(
    pool: UpstreamPool,
    permit: "Permit",
    request: OwnRequest,
    *,
    body_bytes_max: int,
    take: Callable[[int], bool] = _unbounded,
) -> BufferedResponse:
    """Send a request on behalf of the branch of `permit`, and return the response.

    The server may see the request twice, so it must be idempotent. The caller sets a deadline; if
    that cancels the request, its stream ends. A revoked permit does not matter here. `take` returns
    whether there is room for so many more bytes of the body.

    Raises:
        UpstreamError: There is no whole response, its body exceeds `body_bytes_max` bytes, or there
            is no room for it.
    """
    call = _BufferedCall(permit, request, body_bytes_max, take)
    try:
        pool.start(permit, call)
        await call.done.wait()
    finally:
        call.release()
    return call.response()


class _BufferedCall:
    """The `CallObserver` of one request."""

    idempotent = True

    def __init__(
        self,
        permit: "Permit",
        request: OwnRequest,
        body_bytes_max: int,
        take: Callable[[int], bool],
    ) -> None:
        self.attempts = 0
        self.reuse_key: ReuseKey = ""
        self.wait_turn: tuple[ReuseKey, ...] = (permit.grant.caller, permit.grant.branch_key)
        self.done = trio.Event()
        self._request = request
        self._bytes_max = body_bytes_max
        self._take = take
        self._size = 0
        self._body: list[bytes] = []
        self._stream: RequestStream | None = None
        self._error: UpstreamError | None = None
        self._response = BufferedResponse(0, [], b"")

    @property
    def over(self) -> bool:
        """Whether the request has ended, or is no longer wanted."""
        return self.done.is_set()

    @property
    def repeatable(self) -> bool:
        """Whether nothing has arrived of the response."""
        return not self._size

    def response(self) -> BufferedResponse:
        """Return the response; raise UpstreamError if there is none."""
        if self._error is not None:
            raise self._error
        return self._response

    def release(self) -> None:
        """End the request, complete or not."""
        self.done.set()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.release()

    def begun(self, stream: RequestStream) -> None:
        """Send the request on this stream."""
        self._stream = stream
        method, target, fields, body = self._request
        head = RequestHead(method, target, len(body), written(fields), fields)
        stream.begin(head, body, ends=True)

    def again(self) -> None:
        """Forget the stream: a retry follows."""
        self._stream = None

    def progressed(self) -> None:
        """Take what has arrived."""
        if self._stream is None:
            return
        answer = self._stream.answer
        if not answer.status:
            return
        data = answer.take()
        self._size += len(data)
        self._body.append(data)
        if self._size > self._bytes_max:
            self._error = UpstreamError(f"the response is longer than {self._bytes_max} bytes")
            self.release()
        elif data and not self._take(len(data)):
            self._error = UpstreamError("the gateway holds back too many other responses")
            self.release()
        elif answer.complete:
            fields = [*answer.headers, *answer.trailers]
            self._response = BufferedResponse(answer.status, fields, b"".join(self._body))
            self.release()

    def writable(self) -> None:
        """Do nothing: the whole body is sent at once."""

    def failed(self, error: UpstreamError) -> None:
        """Take note that there is no response."""
        self._error = error
        self.release()
