"""What the auth hooks of all clients share: where a token comes from, and when another is tried.

Decides nothing about tokens and imports no client. A request that is refused with 401 is sent once
more if a newer token has come meanwhile: a file may be replaced between its reading and the use.
"""

from collections.abc import Callable, Generator, MutableMapping
from pathlib import Path
from typing import Protocol, TypeVar

from crewgate.errors import IssuerError
from crewgate.issuer.subagent import SubAgent
from crewgate.issuer.token_file import read_token

Source = SubAgent | Path | str | Callable[[], str]
Read = Callable[[], str]

FIELD = "Authorization"  # RFC 6750, section 2.1
UNAUTHORIZED = 401


class Request(Protocol):
    """As httpx and httpx2 have them."""

    @property
    def headers(self) -> MutableMapping[str, str]:
        """What is sent."""


class Response(Protocol):
    """The same of what came."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""


Q = TypeVar("Q", bound=Request)


def reader(source: Source) -> Read:
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


def auth_flow(
    request: Q, read: Read, token: str, *, is_repeatable: bool
) -> Generator[Q, Response, None]:
    """`Auth.auth_flow` of httpx and of httpx2. Only a body in memory can be sent again."""
    request.headers[FIELD] = bearer(token)
    response = yield request
    if response.status_code == UNAUTHORIZED and is_repeatable:
        newer = newer_than(token, read)
        if newer:
            request.headers[FIELD] = bearer(newer)
            yield request
