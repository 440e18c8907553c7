"""Types of HTTP and ASGI for several packages."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

# Name and value.
HeaderField = tuple[bytes, bytes]

# ASGI 3 (asgi.readthedocs.io): the arguments of an application.
Scope = MutableMapping[str, Any]
ASGIMessage = MutableMapping[str, Any]
ASGIReceive = Callable[[], Awaitable[ASGIMessage]]
ASGISend = Callable[[ASGIMessage], Awaitable[None]]
ASGIApplication = Callable[[Scope, ASGIReceive, ASGISend], Awaitable[None]]
