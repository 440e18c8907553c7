"""A requests auth hook that presents whatever token is fresh: of a handle, or in a file."""

from typing import Any

import requests
from requests.auth import AuthBase

from crewgate.errors import IssuerError
from crewgate.issuer.auth_flow import FIELD, UNAUTHORIZED, TokenSource, bearer, newer_than, reader

__all__ = ["NoTokenError", "TokenAuth"]


class NoTokenError(IssuerError, requests.exceptions.ConnectionError):
    """There is no token, so nothing was sent: an error of requests', which its users catch."""


class TokenAuth(AuthBase):
    """`auth=` of a session or request: of a SubAgent, a token file's path, or a function.

    Reads the file, or asks the handle, for every request (20 µs). A request for which there is no
    token raises NoTokenError.
    """

    def __init__(self, source: TokenSource) -> None:
        self._read = reader(source)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """See requests.auth.AuthBase: sets the Authorization field (RFC 6750, section 2.1)."""
        try:
            token = self._read()
        except IssuerError as error:
            raise NoTokenError(str(error), request=request) from error
        request.headers[FIELD] = bearer(token)

        def again(response: requests.Response, **how: Any) -> requests.Response:  # noqa: ANN401 - of requests
            return self._again(response, token, how)

        request.register_hook("response", again)
        return request

    def _again(
        self, response: requests.Response, token: str, how: dict[str, Any]
    ) -> requests.Response:
        """Send a refused request once more, if a newer token has come.

        Nothing is sent that did not have the token: requests takes it from what is redirected to
        another host. Only a body in memory can be sent again.
        """
        refused = response.request
        if (
            response.status_code != UNAUTHORIZED
            or refused.headers.get(FIELD) != bearer(token)
            or not isinstance(refused.body, bytes | str | None)
        ):
            return response
        newer = newer_than(token, self._read)
        if not newer:
            return response
        _ = response.content  # read to its end, so that the connection is free again
        response.close()
        request = refused.copy()
        request.headers[FIELD] = bearer(newer)
        # By the adapter that sent the first, as requests.auth.HTTPDigestAuth does it.
        second: requests.Response = response.connection.send(request, **how)
        second.history.append(response)
        second.request = request
        return second
