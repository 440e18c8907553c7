"""An httpx auth hook that presents whatever token is fresh: of a handle, or in a file."""

from collections.abc import Generator

import httpx

from crewgate.errors import IssuerError
from crewgate.issuer.presenting import Source, auth_flow, reader


class NoTokenError(IssuerError, httpx.TransportError):
    """There is no token, so nothing was sent: an error of httpx's, which clients on it know."""


class TokenAuth(httpx.Auth):
    """`auth=` of a client or request: a SubAgent, a token file's path, or a function.

    Reads the file, or asks the handle, for every request (20 µs); NoTokenError if there is no
    token. Works with the blocking and the asynchronous client.
    """

    def __init__(self, source: Source) -> None:
        self._read = reader(source)

    def __repr__(self) -> str:
        return "<TokenAuth>"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See httpx.Auth: sets the Authorization field (RFC 6750, section 2.1)."""
        try:
            token = self._read()
        except IssuerError as error:
            raise NoTokenError(str(error), request=request) from error
        is_repeatable = isinstance(request.stream, httpx.ByteStream)
        yield from auth_flow(request, self._read, token, is_repeatable=is_repeatable)
