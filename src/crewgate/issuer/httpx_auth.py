"""An httpx auth hook that presents whatever token is fresh: of a handle, or in a file.

Decides nothing about tokens. A request that is refused with 401 is sent once more if a newer token
has come meanwhile, as it does when a file was replaced between reading and use.
"""

from collections.abc import Callable, Generator
from pathlib import Path

import httpx

from crewgate.issuer.subagent import SubAgent
from crewgate.issuer.token_file import read_token


class TokenAuth(httpx.Auth):
    """`auth=` of a client or request: a SubAgent, a token file's path, or a function.

    Reads the file, or asks the handle, for every request (20 µs); IssuerError if there is no
    token. Works with the blocking and the asynchronous client.
    """

    def __init__(self, source: SubAgent | Path | str | Callable[[], str]) -> None:
        if isinstance(source, SubAgent):
            self._token = source.token
        elif isinstance(source, Path | str):
            path = Path(source)
            self._token = lambda: read_token(path)
        else:
            self._token = source

    def __repr__(self) -> str:
        return "<TokenAuth>"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See httpx.Auth: sets the Authorization field (RFC 6750, section 2.1)."""
        token = self._token()
        request.headers["Authorization"] = f"Bearer {token}"
        # Only a body in memory can be sent again; a streamed one is gone by then.
        repeatable = isinstance(request.stream, httpx.ByteStream)
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED and repeatable:
            newer = self._token()
            if newer != token:
                request.headers["Authorization"] = f"Bearer {newer}"
                yield request
