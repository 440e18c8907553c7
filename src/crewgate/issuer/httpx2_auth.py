"""An httpx2 auth hook that presents whatever token is fresh: of a handle, or in a file.

The clients of OpenAI (from 3), Anthropic (from 2) and MCP (from 2) stand on httpx2, and take no
hook of httpx.
"""

import httpx2

from crewgate.errors import IssuerError
from crewgate.issuer.auth_flow import FlowAuth

__all__ = ["NoTokenError", "TokenAuth"]


class NoTokenError(IssuerError, httpx2.TransportError):
    """There is no token, so nothing was sent: an error of httpx2's, which clients on it know."""


class TokenAuth(FlowAuth[httpx2.Request, httpx2.Response], httpx2.Auth):
    """`auth=` of a client or request: of a SubAgent, a token file's path, or a function.

    A request for which there is no token raises NoTokenError.
    """

    no_token = NoTokenError
    in_memory = httpx2.ByteStream
