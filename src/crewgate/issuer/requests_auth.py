"""A requests auth hook that presents the current token of a branch."""

from typing import Any

import requests
from requests.auth import AuthBase

from crewgate.errors import IssuerError
from crewgate.issuer.auth_flow import (
    FIELD,
    TokenSource,
    bearer,
    newer_than,
    reader,
    refuses_token,
)

__all__ = ["NoTokenError", "TokenAuth"]


class NoTokenError(IssuerError, requests.exceptions.ConnectionError):
    """There is no token, so nothing was sent. This is a connection error of requests too."""


class TokenAuth(AuthBase):
    """A hook for `auth=` of a session or request.

    `source` is a SubAgent, the path of a token file, or a function that returns the token, or None
    if there is none. The hook reads the token for every request (20 µs). If there is no token, the
    request raises NoTokenError.
    """

    def __init__(self, source: TokenSource) -> None:
        self._read = reader(source)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Set the header field Authorization (RFC 6750, section 2.1); requests calls this."""
        try:
            token = self._read()
        except IssuerError as error:
            raise NoTokenError(str(error), request=request) from error
        request.headers[FIELD] = bearer(token)

        def retry(response: requests.Response, **options: Any) -> requests.Response:  # noqa: ANN401 - of requests
            return self._retry(response, token, options)

        request.register_hook("response", retry)
        return request

    def _retry(
        self, response: requests.Response, token: str, options: dict[str, Any]
    ) -> requests.Response:
        """Repeat a refused request once if there is a newer token.

        A request without the token is not repeated: requests removes the token when it follows a
        redirection to another host. Only a body in memory can be sent again.
        """
        refused = response.request
        if (
            not refuses_token(response.status_code, response.headers)
            or refused.headers.get(FIELD) != bearer(token)
            or not isinstance(refused.body, bytes | str | None)
        ):
            return response
        newer = newer_than(token, self._read)
        if not newer:
            return response
        # Only after the body is read to its end can the connection be used again.
        _ = response.content
        response.close()
        request = refused.copy()
        request.headers[FIELD] = bearer(newer)
        # Use the adapter of the first request, as requests.auth.HTTPDigestAuth does.
        second: requests.Response = response.connection.send(request, **options)
        second.history.append(response)
        second.request = request
        return second
