"""Types of HTTP and ASGI for several packages."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

# Name and value.
HeaderField = tuple[bytes, bytes]
# A server may see such a request twice (RFC 9110 §9.2.2).
IDEMPOTENT_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
METHODS_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})  # RFC 9110 §8.6

# ASGI 3 (asgi.readthedocs.io): the arguments of an application.
Scope = MutableMapping[str, Any]
ASGIMessage = MutableMapping[str, Any]
ASGIReceive = Callable[[], Awaitable[ASGIMessage]]
ASGISend = Callable[[ASGIMessage], Awaitable[None]]
ASGIApplication = Callable[[Scope, ASGIReceive, ASGISend], Awaitable[None]]
