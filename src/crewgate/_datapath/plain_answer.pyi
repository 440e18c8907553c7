"""Reads an answer of HTTP/1.1 that is plain: one that can be framed in one way only (RFC 9112).

A plain answer has a final status other than 205, at most 64 fields in strict syntax, no events
(`text/event-stream`) and at most `limits.straight_answer_bytes_max` bytes of body. It has one of
these: a Content-Length; `Transfer-Encoding: chunked`, without extensions and trailers; or no body
because of its status. An answer that is not plain may be valid: `ResponseReader` then reads it from
its first byte.
"""

from crewgate.core.http_types import HeaderField

class PlainAnswer:
    """Reads one answer after another; call `reset` before each.

    - `status`, `headers`: of the head, names in lower case
    - `body`: of a complete answer, without the framing of its chunks
    - `closes`: the server closes the connection after the answer
    - `keep_seconds`: how long the server keeps the connection without use; 0 if it did not say
    """

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> list[HeaderField]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def closes(self) -> bool: ...
    @property
    def keep_seconds(self) -> int: ...
    def reset(self, *, head_only: bool) -> None:
        """Forget the last answer; `head_only` says that the next one answers HEAD."""
    def feed(self, data: bytes) -> bool | None:
        """Read on; return whether the answer is complete, or None if it is not plain.

        After None, only `reset` may follow.
        """
