"""Collects the responses of a tool server from a parser: head, body pieces, trailers, end."""

from collections.abc import Callable, Iterable

from crewgate.core.http_types import HeaderField

class ResponseReader:
    """Reads the responses of one connection, one after the other; call `reset` before each.

    - `status`: 0 until the head is complete
    - `began`: a byte has arrived
    - `reusable`: the connection may carry another request after `complete`. It may not if the head
      ends the response and announces a body all the same (RFC 9110 §8.6).
    - `bodyless`: the response ended with its head, so a body that the server sends by mistake would
      come after it

    Names of fields are in lower case. Raises UpstreamError for a response that does not begin as
    HTTP/1.0 or HTTP/1.1, a switch of protocols, a status below 100, a body of a 205 (RFC 9110
    §15.3.6), over `limits.upstream_fields_max` fields, over `limits.upstream_head_bytes_max` bytes
    between two pieces of a body, a transfer coding other than chunked (RFC 9112 §6.1), a response
    without a request, and everything that the parser refuses.
    """

    status: int
    headers: list[HeaderField]
    trailers: list[HeaderField]
    complete: bool
    reusable: bool
    began: bool
    informed: bool
    bodyless: bool

    def __init__(
        self, make_parser: Callable[[object], object], errors: Iterable[type[Exception]]
    ) -> None:
        """`make_parser` gets the object to call back, as in httptools, and raises `errors`."""
    def reset(self, *, head_only: bool) -> None:
        """Forget the last response; `head_only` says that the next one answers HEAD."""
    def feed(self, data: bytes) -> None:
        """Take bytes from the server. Raises UpstreamError if they are not HTTP/1."""
    def feed_end(self) -> None:
        """Take the end of the connection. Raises UpstreamError if the response is incomplete."""
    def take(self) -> bytes:
        """Return the part of the body that has arrived and was not taken yet."""
    def take_informational(self) -> list[tuple[int, list[HeaderField]]]:
        """Return the informational responses that were not taken yet. Status 100 is dropped, and so
        is what exceeds `limits.upstream_informational_max`."""
