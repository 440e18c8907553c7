"""An httpx auth hook that presents whatever token is fresh: of a handle, or in a file."""

import httpx

from crewgate.errors import IssuerError
from crewgate.issuer.auth_flow import FlowAuth

__all__ = ["NoTokenError", "TokenAuth"]


class NoTokenError(IssuerError, httpx.TransportError):
    """There is no token, so nothing was sent: an error of httpx's, which clients on it know."""


class TokenAuth(FlowAuth[httpx.Request, httpx.Response], httpx.Auth):
    """`auth=` of a client or request: of a SubAgent, a token file's path, or a function.

    A request for which there is no token raises NoTokenError.
    """

    no_token = NoTokenError
    in_memory = httpx.ByteStream
