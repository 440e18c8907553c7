"""An aiohttp middleware that presents the current token of a branch."""

import asyncio

import aiohttp
from aiohttp.payload import BytesPayload
from yarl import URL

from crewgate.errors import IssuerError
from crewgate.issuer.auth_flow import (
    FIELD,
    TokenSource,
    bearer,
    may_wait,
    newer_than,
    reader,
    refuses_token,
)

__all__ = ["NoTokenError", "TokenAuth"]


class NoTokenError(IssuerError, aiohttp.ClientConnectionError):
    """There is no token, so the request was not sent. This is a connection error of aiohttp too."""


class TokenAuth:
    """A middleware for `middlewares=` of a session or request.

    `source` is a SubAgent, the path of a token file, or a function that returns the token, or None
    if there is none. The middleware reads the token for every request (20 µs), and sends the token
    to one origin only: the origin of `url`, or of the first request if there is no `url`. After a
    redirection to another origin, the middleware sends no token. If there is no token, the request
    raises NoTokenError.
    """

    def __init__(self, source: TokenSource, url: str | URL = "") -> None:
        self._source, self._read = source, reader(source)
        self._origin = URL(url).origin() if url else None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send the request with the header field Authorization (RFC 6750, section 2.1)."""
        origin = request.url.origin()
        if self._origin is None:
            self._origin = origin
        if origin != self._origin:
            return await handler(request)
        try:
            token = await self._current()
        except IssuerError as error:
            raise NoTokenError(str(error)) from error
        request.headers[FIELD] = bearer(token)
        response = await handler(request)
        # Only a body in memory can be sent again.
        is_repeatable = isinstance(request.body, bytes | BytesPayload)
        if not is_repeatable or not refuses_token(response.status, response.headers):
            return response
        newer = newer_than(token, self._read)
        if not newer:
            return response
        response.release()
        request.headers[FIELD] = bearer(newer)
        return await handler(request)

    async def _current(self) -> str:
        """Return the token; a thread waits for a renewal, and not the event loop."""
        if may_wait(self._source):
            return await asyncio.to_thread(self._read)
        return self._read()
