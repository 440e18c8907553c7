"""An httpx auth hook that presents the current token of a branch."""

import httpx

from crewgate.errors import IssuerError
from crewgate.issuer.auth_flow import FlowAuth

__all__ = ["NoTokenError", "TokenAuth"]


class NoTokenError(IssuerError, httpx.TransportError):
    """There is no token, so the request was not sent. This is a transport error of httpx too."""


class TokenAuth(FlowAuth[httpx.Request, httpx.Response], httpx.Auth):
    """A hook for `auth=` of a client or request.

    `source` is a SubAgent, the path of a token file, or a function that returns the token, or None
    if there is none. The hook reads the token for every request (20 µs). If there is no token, the
    request raises NoTokenError. If the token is bound to a key, pass that `key`: each request then
    has a proof of it (RFC 9449). If the client uses the socket of `crewgate run`, also pass
    `behind_sidecar=True`.
    """

    _no_token = NoTokenError
    _in_memory = httpx.ByteStream
