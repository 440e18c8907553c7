"""An httpx2 auth hook that presents the current token of a branch.

The clients of OpenAI (from version 3), Anthropic (from version 2) and MCP (from version 2) use
httpx2, and accept no hook of httpx.
"""

import httpx2

from crewgate.errors import IssuerError
from crewgate.issuer.auth_flow import FlowAuth

__all__ = ["NoTokenError", "TokenAuth"]


class NoTokenError(IssuerError, httpx2.TransportError):
    """There is no token, so the request was not sent. This is a transport error of httpx2 too."""


class TokenAuth(FlowAuth[httpx2.Request, httpx2.Response], httpx2.Auth):
    """A hook for `auth=` of a client or request.

    `source` is a SubAgent, the path of a token file, or a function that returns the token, or None
    if there is none. The hook reads the token for every request (20 µs). If there is no token, the
    request raises NoTokenError. If the token is bound to a key, pass that `key`: each request then
    has a proof of it (RFC 9449). If the client uses the socket of `crewgate run`, also pass
    `behind_sidecar=True`.
    """

    _no_token = NoTokenError
    _in_memory = httpx2.ByteStream
