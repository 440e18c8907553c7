"""What a parser says of a tool server's answers: head, pieces of the body, trailers, end."""

from collections.abc import Callable, Iterable

from crewgate.core.http_types import HeaderField

class ResponseReader:
    """Reads the answers of one connection, one after the other; `reset` goes before each.

    `status` is 0 until the head is complete. `began`: a byte has come. `reusable` says whether the
    connection may carry another request after `complete`; not where a head that ends its answer
    announces a body (RFC 9110 §8.6). `bodyless`: the answer was over with its head, so that a
    server's mistaken body would come after it. Names of fields are in lower case.

    Refuses, with UpstreamError: what does not start as HTTP/1.0 or HTTP/1.1 does, switching
    protocols and statuses below 100, a body of 205 (RFC 9110 §15.3.6), over
    `limits.upstream_fields_max` fields, over `limits.upstream_head_bytes_max` bytes between two
    pieces of a body, a transfer coding other than chunked (RFC 9112 §6.1), an answer that nobody
    asked for; and whatever the parser refuses.
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
        """`make_parser` is given who is called back, as httptools does it; `errors` are its own."""
    def reset(self, *, head_only: bool) -> None:
        """Forget the last answer; `head_only` for the answer to HEAD."""
    def feed(self, data: bytes) -> None:
        """Take bytes from the server. UpstreamError if they are not HTTP/1."""
    def feed_end(self) -> None:
        """Take the end of the connection. UpstreamError if the answer is not whole."""
    def take(self) -> bytes:
        """Return what has come of the body and was not taken."""
    def take_informational(self) -> list[tuple[int, list[HeaderField]]]:
        """Return the informational answers that have come and were not taken; 100 is dropped, and
        what is over `limits.upstream_informational_max`."""
