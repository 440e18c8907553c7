"""An httpx2 auth hook that presents whatever token is fresh: of a handle, or in a file.

The clients of OpenAI (from 3), Anthropic (from 2) and MCP (from 2) stand on httpx2, and take no
hook of httpx.
"""

from collections.abc import Generator

import httpx2

from crewgate.errors import IssuerError
from crewgate.issuer.presenting import Source, auth_flow, reader


class NoTokenError(IssuerError, httpx2.TransportError):
    """There is no token, so nothing was sent: an error of httpx2's, which clients on it know."""


class TokenAuth(httpx2.Auth):
    """`auth=` of a client or request: a SubAgent, a token file's path, or a function.

    Reads the file, or asks the handle, for every request (20 µs); NoTokenError if there is no
    token. Works with the blocking and the asynchronous client.
    """

    def __init__(self, source: Source) -> None:
        self._read = reader(source)

    def __repr__(self) -> str:
        return "<TokenAuth>"

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """See httpx2.Auth: sets the Authorization field (RFC 6750, section 2.1)."""
        try:
            token = self._read()
        except IssuerError as error:
            raise NoTokenError(str(error), request=request) from error
        is_repeatable = isinstance(request.stream, httpx2.ByteStream)
        yield from auth_flow(request, self._read, token, is_repeatable=is_repeatable)
