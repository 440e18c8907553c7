"""An aiohttp middleware that presents whatever token is fresh: of a handle, or in a file."""

import aiohttp
from aiohttp.payload import BytesPayload
from yarl import URL

from crewgate.errors import IssuerError
from crewgate.issuer.auth_flow import FIELD, UNAUTHORIZED, TokenSource, bearer, newer_than, reader

__all__ = ["NoTokenError", "TokenAuth"]


class NoTokenError(IssuerError, aiohttp.ClientConnectionError):
    """There is no token, so nothing was sent: an error of aiohttp's, which its users catch."""


class TokenAuth:
    """One of `middlewares=` of a session or request: of a SubAgent, a file's path, or a function.

    Reads the file, or asks the handle, for every request (20 µs). The token goes to one origin:
    that of `url`, or else of the first request. A redirection to another origin takes no token
    along. A request for which there is no token raises NoTokenError.
    """

    def __init__(self, source: TokenSource, url: str | URL = "") -> None:
        self._read = reader(source)
        self._origin = URL(url).origin() if url else None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """See aiohttp.ClientMiddlewareType: sets Authorization (RFC 6750, section 2.1)."""
        origin = request.url.origin()
        if self._origin is None:
            self._origin = origin
        if origin != self._origin:
            return await handler(request)
        try:
            token = self._read()
        except IssuerError as error:
            raise NoTokenError(str(error)) from error
        request.headers[FIELD] = bearer(token)
        response = await handler(request)
        # Only a body in memory can be sent again.
        if response.status != UNAUTHORIZED or not isinstance(request.body, bytes | BytesPayload):
            return response
        newer = newer_than(token, self._read)
        if not newer:
            return response
        response.release()
        request.headers[FIELD] = bearer(newer)
        return await handler(request)
