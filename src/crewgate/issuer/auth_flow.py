"""What the auth hooks of all clients share: where a token comes from, and when another is tried.

Decides nothing about tokens and imports no client. A request that is refused with 401 is sent once
more if a newer token has come meanwhile: a file may be replaced between its reading and the use.
"""

from collections.abc import Callable, Generator, MutableMapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from crewgate.errors import IssuerError
from crewgate.issuer.subagent import SubAgent
from crewgate.issuer.token_file import read_token

TokenSource = SubAgent | Path | str | Callable[[], str]
Read = Callable[[], str]

FIELD = "Authorization"  # RFC 6750, section 2.1
UNAUTHORIZED = 401


class ClientRequest(Protocol):
    """As httpx and httpx2 have them."""

    stream: Any

    @property
    def headers(self) -> MutableMapping[str, str]:
        """What is sent."""


class ClientResponse(Protocol):
    """The same of what came."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""


Q = TypeVar("Q", bound=ClientRequest)
S = TypeVar("S", bound=ClientResponse)


def reader(source: TokenSource) -> Read:
    """What gives the token for the next request: of a handle, of the file at a path, or itself."""
    if isinstance(source, SubAgent):
        return source.token
    if isinstance(source, Path | str):
        path = Path(source)
        return lambda: read_token(path)
    return source


def bearer(token: str) -> str:
    """The field's value."""
    return f"Bearer {token}"


def newer_than(token: str, read: Read) -> str:
    """Another token than the one that was refused; empty if there is none: the refusal stands."""
    try:
        newer = read()
    except IssuerError:
        return ""
    return "" if newer == token else newer


class FlowAuth(Generic[Q, S]):
    """What the hooks of httpx and of httpx2 share; each is an `Auth` of its library too.

    Reads the file, or asks the handle, for every request (20 µs); an error of `no_token` if there
    is no token. Works with the blocking and the asynchronous client. Only a body `in_memory` can be
    sent again.
    """

    no_token: ClassVar[Callable[..., Exception]]
    in_memory: ClassVar[type]

    def __init__(self, source: TokenSource) -> None:
        self._read = reader(source)

    def auth_flow(self, request: Q) -> Generator[Q, S, None]:
        """See `Auth` of the library: sets the Authorization field."""
        try:
            token = self._read()
        except IssuerError as error:
            raise self.no_token(str(error), request=request) from error
        is_repeatable = isinstance(request.stream, self.in_memory)  # sent, it may be another one
        request.headers[FIELD] = bearer(token)
        response = yield request
        if response.status_code == UNAUTHORIZED and is_repeatable:
            newer = newer_than(token, self._read)
            if newer:
                request.headers[FIELD] = bearer(newer)
                yield request
