"""Selects the fields of a message that are passed on, and writes fields as HTTP/1.1.

Fields are (name, value) pairs of `bytes` with names in lower case; anything else raises TypeError.
The parsers check the characters of fields, so a name or value here may have any byte.
"""

from collections.abc import Iterable, Sequence

from crewgate.core.http_types import HeaderField

def written(fields: Sequence[HeaderField]) -> bytes:
    """Return fields as HTTP/1.1 writes them, each with its CRLF (RFC 9112 §5)."""

def values(fields: Sequence[HeaderField], name: bytes) -> tuple[bytes, ...]:
    """Return the values of all fields with this name, in order; usually none."""

def named(
    fields: Sequence[HeaderField], names: frozenset[bytes], value_bytes_max: int
) -> tuple[HeaderField, ...] | None:
    """Return the fields with one of these names, in order; None if the value of one is longer."""

class FieldFilter:
    """Selects the fields or trailers of a client that go upstream; made once for a tool.

    The first rule that applies to a field decides:

    1. A field in `dropped` is not passed on.
    2. A field that a server could take for the gateway's own refuses the message, with
       InvalidRequestError 400. Its name, mapped by `core.bearer.PLAIN`, is in `refused` or begins
       with `core.bearer.OURS`.
    3. A field whose name `PLAIN` changes is passed on only if it is `allowed`.
    4. A field that Connection names, or whose value has the caller's `token`, is not passed on.
    """

    def __init__(
        self, dropped: Iterable[bytes], refused: Iterable[bytes], allowed: Iterable[bytes]
    ) -> None: ...
    def kept(self, fields: Sequence[HeaderField], token: bytes = b"") -> list[HeaderField]:
        """Return the fields to pass on, unchanged and in order. Raises InvalidRequestError."""
    def written(self, fields: Sequence[HeaderField], token: bytes = b"") -> bytes:
        """Return `written(kept(fields, token))` in one pass. Raises InvalidRequestError."""

class ResponseFilter:
    """Selects the fields or trailers of an upstream that go to the client. It drops a field that is
    in `dropped`, that Connection names, or that `core.bearer.PLAIN` maps to one of the gateway's
    own."""

    def __init__(self, dropped: Iterable[bytes]) -> None: ...
    def kept(self, fields: Sequence[HeaderField]) -> list[HeaderField]:
        """Return the fields to pass on, unchanged and in order."""
    def written(self, fields: Sequence[HeaderField]) -> bytes:
        """Return `written(kept(fields))` in one pass."""
