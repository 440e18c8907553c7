"""Checks the head of a request in one pass over its fields, and makes an object of a given class."""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from crewgate.core.http_types import HeaderField

_T = TypeVar("_T")

class RequestHeadParser(Generic[_T]):
    """Makes requests with `make(method, target, path, query, authority, headers, version, stream,
    length)`; server/request.py explains the arguments.

    Raises InvalidRequestError for the first of these that applies:

    1. 400: the method is not a token of at most `limits.method_bytes_max` bytes, or the target has
       a byte that is not visible ASCII, or a "#".
    2. 501: the method is in `unsupported`.
    3. 400: the target is not a path, nor the `*` of an OPTIONS.
    4. 400: Content-Length is not one number of at most 18 digits; 413: it is over
       `limits.tool_body_bytes_max`.
    5. 400: there is more than one Host, or no authority; the authority is over
       `limits.authority_bytes_max` bytes, differs from Host, or is not a name or bracketed address
       with an optional port.

    Raises TypeError for an argument that should be `bytes` and is not.
    """

    def __init__(
        self,
        make: Callable[
            [bytes, bytes, bytes, bytes, bytes, list[HeaderField], str, int, int | None], _T
        ],
        unsupported: Iterable[bytes],
    ) -> None: ...
    def build(
        self,
        method: bytes,
        target: bytes,
        authority: bytes | None,
        fields: Sequence[HeaderField],
        *,
        version: str,
        stream: int,
        streamed: bool,
    ) -> _T:
        """Make the request of a request line and its fields. `authority` is that of the line, or
        None. `streamed` says that a body of undeclared size may follow."""
    def read(self, fields: Sequence[HeaderField], stream: int, streamed: bool) -> _T:
        """Make the request of the first fields of an HTTP/2 stream. CONNECT is refused first (501),
        then a scheme other than https (400). The HTTP/2 engine checks that pseudo fields are known,
        unique and before all others; here the last one counts, and unknown ones are dropped."""
