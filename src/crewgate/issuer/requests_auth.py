"""A requests auth hook that presents the current token of a branch."""

from collections.abc import Mapping
from typing import Any

import requests
from requests.auth import AuthBase

from crewgate.errors import IssuerError
from crewgate.issuer.auth_flow import (
    TokenSource,
    newer_than,
    reader,
    refuses_token,
)
from crewgate.issuer.proof_key import ProofKey
from crewgate.issuer.token_schemes import FIELD, scheme_of

__all__ = ["NoTokenError", "TokenAuth"]


class NoTokenError(IssuerError, requests.exceptions.ConnectionError):
    """There is no token, so nothing was sent. This is a connection error of requests too."""


class TokenAuth(AuthBase):
    """A hook for `auth=` of a session or request.

    `source` is a SubAgent, the path of a token file, or a function that returns the token, or None
    if there is none. The hook reads the token for every request (20 µs). If there is no token, the
    request raises NoTokenError. If the token is bound to a key, pass that `key`: each request then
    has a proof of it (RFC 9449).
    """

    def __init__(self, source: TokenSource, *, key: ProofKey | None = None) -> None:
        self._read, self._scheme = reader(source), scheme_of(key)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Set the header fields that show the token; requests calls this."""
        try:
            token = self._read()
        except IssuerError as error:
            raise NoTokenError(str(error), request=request) from error
        request.headers.update(self._fields(request, token))

        def retry(response: requests.Response, **options: Any) -> requests.Response:  # noqa: ANN401 - of requests
            return self._retry(response, token, options)

        request.register_hook("response", retry)
        return request

    def _retry(
        self, response: requests.Response, token: str, options: dict[str, Any]
    ) -> requests.Response:
        """Repeat a refused request with the nonce that the server wants, or with a newer token.

        A request without the token is not repeated: requests removes the token when it follows a
        redirection to another host. Only a body in memory can be sent again.
        """
        refused, shown = response.request, str(response.request.headers.get(FIELD, ""))
        wants_nonce = self._scheme.take_nonce(
            str(refused.url), response.status_code, response.headers
        )
        if not shown.endswith(f" {token}") or not isinstance(refused.body, bytes | str | None):
            return response
        if wants_nonce:
            response = self._repeat(response, token, options)
        if not refuses_token(response.status_code, response.headers):
            return response
        newer = newer_than(token, self._read)
        return self._repeat(response, newer, options) if newer else response

    def _repeat(
        self, response: requests.Response, token: str, options: dict[str, Any]
    ) -> requests.Response:
        # Only after the body is read to its end can the connection be used again.
        _ = response.content
        response.close()
        request = response.request.copy()
        request.headers.update(self._fields(request, token))
        # Use the adapter of the first request, as requests.auth.HTTPDigestAuth does.
        second: requests.Response = response.connection.send(request, **options)
        second.history.append(response)
        second.request = request
        self._scheme.take_nonce(str(request.url), second.status_code, second.headers)
        return second

    def _fields(self, request: requests.PreparedRequest, token: str) -> Mapping[str, str]:
        return self._scheme.fields(token, str(request.method), str(request.url))
