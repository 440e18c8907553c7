"""Cross-origin resource sharing (CORS): preflight responses, and the headers of other responses.

A preflight carries no token (Fetch standard, "CORS-preflight request"). So the gateway answers one
only if the tool is configured for CORS and the page's origin is listed; every other OPTIONS request
is authorized like any call. Credentials mode is never allowed, because the gateway has no cookies.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from crewgate._native.fields import values
from crewgate.config import CORSConfig
from crewgate.core.http_types import HeaderField
from crewgate.server.request import Request

_FAMILY = b"access-control-"
_VARIES = b"origin, access-control-request-method, access-control-request-headers"


class Route(Protocol):
    """The route of a request, as far as this module reads it."""

    @property
    def cors(self) -> CORSConfig | None:
        """The pages that may call; None if none may."""


Find = Callable[[bytes, bytes, bytes], Route | None]


def preflight(request: Request, find: Find) -> list[HeaderField] | None:
    """Return the fields of the 204 that answers a preflight; None if `request` must be authorized.

    `find` returns the tool for a method, a path and a host.
    """
    if request.method != b"OPTIONS":
        return None
    origin = _only(request.headers, b"origin")
    method = _only(request.headers, b"access-control-request-method")
    if not origin or not method:
        return None
    tool = find(method, request.path, request.authority)
    if tool is None or tool.cors is None or not _allows(tool.cors, origin):
        return None
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-methods", method),
        (b"access-control-allow-headers", ", ".join(tool.cors.headers).encode()),
        (b"access-control-max-age", b"%d" % tool.cors.max_age_seconds),
        (b"vary", _VARIES),
    ]


def shared(cors: CORSConfig, request: Request, fields: Sequence[HeaderField]) -> list[HeaderField]:
    """Return the fields of a tool's response with those that let the listed pages read it.

    The CORS fields of the tool's server are dropped: a browser rejects a response that has two.
    """
    kept = [field for field in fields if not field[0].startswith(_FAMILY)]
    kept.append((b"vary", b"origin"))
    origin = _only(request.headers, b"origin")
    if origin and _allows(cors, origin):
        kept.append((b"access-control-allow-origin", origin))
        kept.append((b"access-control-expose-headers", b"*"))
    return kept


def shared_refusal(request: Request, find: Find, fields: list[HeaderField]) -> list[HeaderField]:
    """Return the fields of a refusal so that a listed page may read why its call was refused."""
    if _only(request.headers, b"origin") is None:
        return fields
    tool = find(request.method, request.path, request.authority)
    return fields if tool is None or tool.cors is None else shared(tool.cors, request, fields)


def is_from_allowed_page(cors: CORSConfig | None, request: Request) -> bool:
    """Return whether a request comes from no web page, or from one that may call.

    MCP requires servers to check this (2026-07-28, "Streamable HTTP", security), since a page can
    reach a local server by DNS rebinding.
    """
    origins = values(request.headers, b"origin")
    if not origins:
        return True
    return len(origins) == 1 and cors is not None and _allows(cors, origins[0])


def is_from_page(request: Request) -> bool:
    """Return whether a browser sent a request for a web page.

    Browsers write both fields themselves (Fetch standard; Fetch Metadata), and programs write none.
    """
    return any(name in {b"origin", b"sec-fetch-site"} for name, _ in request.headers)


def _allows(cors: CORSConfig, origin: bytes) -> bool:
    """Return whether the origin is listed. An origin is always ASCII (RFC 6454 §6.2)."""
    return origin.isascii() and cors.allows(origin.decode("ascii"))


def _only(fields: Sequence[HeaderField], name: bytes) -> bytes | None:
    """Return the value of a field that occurs exactly once, else None."""
    values = [value for key, value in fields if key == name]
    return values[0] if len(values) == 1 else None
