"""An aiohttp middleware that presents the current token of a branch."""

import asyncio

import aiohttp
from aiohttp.payload import BytesPayload
from yarl import URL

from crewgate.errors import IssuerError
from crewgate.issuer.auth_flow import (
    TokenSource,
    may_wait,
    newer_than,
    reader,
    refuses_token,
)
from crewgate.issuer.proof_key import ProofKey
from crewgate.issuer.token_schemes import scheme_of

__all__ = ["NoTokenError", "TokenAuth"]


class NoTokenError(IssuerError, aiohttp.ClientConnectionError):
    """There is no token, so the request was not sent. This is a connection error of aiohttp too."""


class TokenAuth:
    """A middleware for `middlewares=` of a session or request.

    `source` is a SubAgent, the path of a token file, or a function that returns the token, or None
    if there is none. The middleware reads the token for every request (20 µs), and sends the token
    to one origin only: the origin of `url`, or of the first request if there is no `url`. After a
    redirection to another origin, the middleware sends no token. If there is no token, the request
    raises NoTokenError. If the token is bound to a key, pass that `key`: each request then has a
    proof of it (RFC 9449).
    """

    def __init__(
        self, source: TokenSource, url: str | URL = "", *, key: ProofKey | None = None
    ) -> None:
        self._source, self._read, self._scheme = source, reader(source), scheme_of(key)
        self._origin = URL(url).origin() if url else None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send the request with the header fields that show the token."""
        origin = request.url.origin()
        if self._origin is None:
            self._origin = origin
        if origin != self._origin:
            return await handler(request)
        try:
            token = await self._current()
        except IssuerError as error:
            raise NoTokenError(str(error)) from error
        response, wants_nonce = await self._send(request, handler, token)
        # Only a body in memory can be sent again.
        is_repeatable = isinstance(request.body, bytes | BytesPayload)
        if wants_nonce and is_repeatable:
            response.release()
            response, _ = await self._send(request, handler, token)
        if not is_repeatable or not refuses_token(response.status, response.headers):
            return response
        newer = newer_than(token, self._read)
        if not newer:
            return response
        response.release()
        return (await self._send(request, handler, newer))[0]

    async def _send(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType, token: str
    ) -> tuple[aiohttp.ClientResponse, bool]:
        """Send the request with a token; return the answer, and whether it wants a nonce."""
        url = str(request.url)
        request.headers.update(self._scheme.fields(token, request.method, url))
        response = await handler(request)
        return response, self._scheme.take_nonce(url, response.status, response.headers)

    async def _current(self) -> str:
        """Return the token; a thread waits for a renewal, and not the event loop."""
        if may_wait(self._source):
            return await asyncio.to_thread(self._read)
        return self._read()
