"""The common part of the auth hooks: reading a token, and trying again with a newer one.

If the server refused the token, a hook repeats the request once, if there is a newer token by then:
another process may replace a token file after the hook has read it. No hook repeats a request that
a tool may have seen. This module imports no HTTP client.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from crewgate.errors import IssuerError
from crewgate.issuer.proof_key import ProofKey
from crewgate.issuer.token_files.token_file import is_token, looks_like_token, read_token
from crewgate.issuer.token_schemes import scheme_of


@runtime_checkable
class TokenHolder(Protocol):
    """The two methods of a SubAgent that the hooks use; a `BranchSpawner` has them too."""

    def token(self) -> str:
        """Return the token for the next request; may wait for a gateway to renew it.

        Raises:
            IssuerError: There is no token.
        """

    def has_fresh_token(self) -> bool:
        """Return whether `token` returns or raises at once."""


TokenSource = TokenHolder | Path | str | Callable[[], str | None]
Read = Callable[[], str]

_UNAUTHORIZED = 401
_CHALLENGE = "WWW-Authenticate"
_REFUSED = 'error="invalid_token"'  # RFC 6750, section 3.1
_SOURCES = (
    "TokenAuth takes a SubAgent, the path of a token file, or a function that returns the token"
)


class ClientRequest(Protocol):
    """The part of a request of httpx or httpx2 that the hooks use."""

    stream: Any
    method: str
    url: Any

    @property
    def headers(self) -> MutableMapping[str, str]:
        """The header fields of the request."""


class ClientResponse(Protocol):
    """The part of a response of httpx or httpx2 that the hooks use."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields; names in any case."""


Q = TypeVar("Q", bound=ClientRequest)
S = TypeVar("S", bound=ClientResponse)


def reader(source: TokenSource) -> Read:
    """Return a function that gives the token of `source` for the next request.

    Raises:
        TypeError: `source` is no source of tokens.
        ValueError: `source` is a token.
    """
    if isinstance(source, TokenHolder):
        return source.token
    if isinstance(source, Path | str):
        path = Path(source)
        if looks_like_token(source):
            raise ValueError(f"{_SOURCES}; the text that you passed looks like a token itself")
        return lambda: read_token(path)
    if not callable(source):
        raise TypeError(f"{_SOURCES}, not {type(source).__name__}")
    return lambda: _checked(source())


def may_wait(source: TokenSource) -> bool:
    """Return whether the next token of `source` may come from a gateway, which can take seconds.

    An event loop must then read the token in a thread. A token file is read in 20 µs, and a
    function of the program is called where the program calls the client.
    """
    return isinstance(source, TokenHolder) and not source.has_fresh_token()


def _checked(token: object) -> str:
    """Return the token that a function of the program returned.

    Raises:
        IssuerError: There is no token.
        TypeError: The function returned something else than text or None.
    """
    if token is not None and not isinstance(token, str):
        raise TypeError(
            f"the function of TokenAuth must return a token as str, or None, not "
            f"{type(token).__name__}"
        )
    text = (token or "").strip()
    if not text:
        raise IssuerError("there is no token: the function of TokenAuth returned none")
    if not is_token(text):
        raise IssuerError("the function of TokenAuth returned text that is not a token")
    return text


def refuses_token(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether the server refused the token, so that no tool has seen the request.

    A gateway or a middleware sends the error code only then. A 401 without the code comes from a
    tool, or ends a call that was running.
    """
    return status == _UNAUTHORIZED and _REFUSED in headers.get(_CHALLENGE, "")


def newer_than(token: str, read: Read) -> str:
    """Return the token that replaces the refused one; empty if there is none."""
    try:
        newer = read()
    except IssuerError:
        return ""
    return "" if newer == token else newer


class FlowAuth(Generic[Q, S]):
    """The common base of the hooks of httpx and httpx2; each also derives from its `Auth`.

    A hook reads the file, or asks the handle, for every request (20 µs), and raises `_no_token` if
    there is no token. A hook works with the blocking and the asynchronous client. With the latter,
    a thread waits for a renewal, and not the event loop. A hook can repeat a request only if the
    body is of the type `_in_memory`.
    """

    _no_token: ClassVar[Callable[..., Exception]]
    _in_memory: ClassVar[type]

    def __init__(
        self, source: TokenSource, *, key: ProofKey | None = None, behind_sidecar: bool = False
    ) -> None:
        self._source, self._read = source, reader(source)
        self._scheme = scheme_of(key, behind_sidecar=behind_sidecar)

    def auth_flow(self, request: Q) -> Generator[Q, S, None]:
        """Set the header fields that show the token; the client calls this."""
        try:
            token = self._read()
        except IssuerError as error:
            raise self._no_token(str(error), request=request) from error
        # The client may replace the stream when it sends the request.
        is_repeatable = isinstance(request.stream, self._in_memory)
        method, url, scheme = request.method, str(request.url), self._scheme
        request.headers.update(scheme.fields(token, method, url))
        response = yield request
        if scheme.take_nonce(url, response.status_code, response.headers) and is_repeatable:
            request.headers.update(scheme.fields(token, method, url))
            response = yield request
            scheme.take_nonce(url, response.status_code, response.headers)
        if is_repeatable and refuses_token(response.status_code, response.headers):
            newer = newer_than(token, self._read)
            if newer:
                request.headers.update(scheme.fields(newer, method, url))
                yield request

    async def async_auth_flow(self, request: Q) -> AsyncGenerator[Q, S]:
        """Do what `auth_flow` does, for a client in an event loop."""
        flow = self.auth_flow(request)
        outgoing = await self._step(flow, None)
        while outgoing is not None:
            response = yield outgoing
            outgoing = await self._step(flow, response)

    async def _step(self, flow: Generator[Q, S, None], response: S | None) -> Q | None:
        """Run `flow` to its next request; None at its end."""

        def step() -> Q | None:
            try:
                return next(flow) if response is None else flow.send(response)
            except StopIteration:  # no future can hold this exception
                return None

        if not may_wait(self._source):
            return step()
        from anyio import to_thread  # noqa: PLC0415 - both clients bring it, for both event loops

        return await to_thread.run_sync(step)
