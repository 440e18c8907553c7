"""The head of a request checked in one walk over its fields; what comes out is the caller's class."""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from crewgate.core.http_types import HeaderField

_T = TypeVar("_T")

class RequestHeadParser(Generic[_T]):
    """Makes requests of one class, called as `make(method, target, path, query, authority, headers,
    version, stream, length)`; what these are, and that nothing else is made, says server/request.py.

    Refuses with InvalidRequestError, the first that applies: a method that is no token of at most
    `limits.method_bytes_max` bytes, or a target of other bytes than visible ASCII without "#" (400);
    a method of `unsupported` (501); a target that is no path, but for the `*` of an OPTIONS (400); a
    Content-Length that is not one number of at most 18 digits (400) or over
    `limits.tool_body_bytes_max` (413); more than one Host, no authority, one that is not a name
    or a bracketed address with perhaps a port or has over `limits.authority_bytes_max` bytes, or
    another than Host (400). TypeError where
    something is not `bytes`.
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
        """Of a request line and its fields. `authority` is what the line named, if it did;
        `streamed` says that a body may follow whose size was not declared."""
    def read(self, fields: Sequence[HeaderField], stream: int, streamed: bool) -> _T:
        """Of the first fields of an HTTP/2 stream. Before all else CONNECT is a 501, and a scheme
        that is not https a 400. Whether pseudo fields are known, once there and before the others
        is the engine's business: the last one counts, and those that are unknown are dropped."""
