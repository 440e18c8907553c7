"""Types of HTTP and ASGI that several packages share."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

HeaderField = tuple[bytes, bytes]  # name and value

# ASGI 3 (asgi.readthedocs.io): what a server hands to an application.
Scope = MutableMapping[str, Any]
ASGIMessage = MutableMapping[str, Any]
ASGIReceive = Callable[[], Awaitable[ASGIMessage]]
ASGISend = Callable[[ASGIMessage], Awaitable[None]]
ASGIApplication = Callable[[Scope, ASGIReceive, ASGISend], Awaitable[None]]
