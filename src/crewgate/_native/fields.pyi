"""Which of a message's fields go on, and how HTTP/1.1 writes them; the rules are given in sets.

Fields are (name, value) pairs of `bytes`, names in lower case; TypeError for anything else. A name
or value may hold any byte: what may stand in a field is the parsers' business.
"""

from collections.abc import Iterable, Sequence

from crewgate.core.http_types import HeaderField

def written(fields: Sequence[HeaderField]) -> bytes:
    """Fields as HTTP/1.1 writes them, each with its CRLF (RFC 9112 §5)."""

class FieldFilter:
    """What of a client's fields or trailers goes upstream, compiled once for a tool.

    Of a field, in this order: `dropped` goes no further; one that could pass for the gateway's
    (`core.bearer.OURS`, or a name of `refused`, once mapped by `core.bearer.PLAIN`) refuses the
    message, InvalidRequestError 400; one that `PLAIN`
    would change goes only if it is `allowed`; one that the
    message's Connection names, or whose value holds the caller's `token`, goes no further.
    """

    def __init__(
        self, dropped: Iterable[bytes], refused: Iterable[bytes], allowed: Iterable[bytes]
    ) -> None: ...
    def kept(self, fields: Sequence[HeaderField], token: bytes = b"") -> list[HeaderField]:
        """The fields that go on, unchanged and in order. InvalidRequestError."""
    def written(self, fields: Sequence[HeaderField], token: bytes = b"") -> bytes:
        """`written(kept(fields, token))` in one go. InvalidRequestError."""

class ResponseFilter:
    """What of an upstream's fields or trailers goes to the client: not what is `dropped`, named by
    its Connection, or begins like the gateway's own once mapped by `core.bearer.PLAIN`."""

    def __init__(self, dropped: Iterable[bytes]) -> None: ...
    def kept(self, fields: Sequence[HeaderField]) -> list[HeaderField]:
        """The fields that go on, unchanged and in order."""
    def written(self, fields: Sequence[HeaderField]) -> bytes:
        """`written(kept(fields))` in one go."""
