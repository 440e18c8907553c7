"""A gRPC plugin that presents whatever token is fresh: of a handle, or in a file.

Imports nothing of gRPC, which asks for no more than something to call.
"""

from collections.abc import Callable, Sequence

from crewgate.errors import IssuerError
from crewgate.issuer.auth_flow import FIELD, TokenSource, bearer, reader

__all__ = ["TokenAuth"]

Metadata = Sequence[tuple[str, str]]


class TokenAuth:
    """A `grpc.AuthMetadataPlugin`, for the blocking and the asynchronous channel:

        token = grpc.metadata_call_credentials(TokenAuth(source))
        both = grpc.composite_channel_credentials(grpc.ssl_channel_credentials(ca), token)
        grpc.secure_channel("gateway:8443", both)

    `source` is a SubAgent, a token file's path, or a function; read, or asked, for every call.
    A call for which there is no token fails with UNAVAILABLE, and the reason in its details.
    """

    def __init__(self, source: TokenSource) -> None:
        self._read = reader(source)

    def __call__(
        self,
        context: object,  # noqa: ARG002 - as gRPC calls it
        callback: Callable[[Metadata, Exception | None], None],
    ) -> None:
        """See grpc.AuthMetadataPlugin: sets the Authorization field (RFC 6750, section 2.1)."""
        try:
            token = self._read()
        except IssuerError as error:
            callback((), error)
        else:
            callback(((FIELD.lower(), bearer(token)),), None)
