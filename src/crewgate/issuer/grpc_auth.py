"""A gRPC plugin that presents the current token of a branch.

The module does not import gRPC: a plugin is any callable.
"""

from collections.abc import Callable, Sequence

from crewgate.errors import IssuerError
from crewgate.issuer.auth_flow import TokenSource, reader
from crewgate.issuer.token_schemes import FIELD

__all__ = ["TokenAuth"]

Metadata = Sequence[tuple[str, str]]


class TokenAuth:
    """A `grpc.AuthMetadataPlugin`, for the blocking and the asynchronous channel::

        token = grpc.metadata_call_credentials(TokenAuth(source))
        both = grpc.composite_channel_credentials(grpc.ssl_channel_credentials(ca), token)
        grpc.secure_channel("gateway:8443", both)

    `source` is a SubAgent, the path of a token file, or a function that returns the token, or None
    if there is none. The plugin reads the token for every call. If there is no token, the call
    fails with UNAVAILABLE, and the details of that error have the reason.
    """

    def __init__(self, source: TokenSource) -> None:
        self._read = reader(source)

    def __call__(
        self,
        context: object,  # noqa: ARG002 - as gRPC calls it
        callback: Callable[[Metadata, Exception | None], None],
    ) -> None:
        """Set the metadata `authorization` (RFC 6750, section 2.1); gRPC calls this."""
        try:
            token = self._read()
        except IssuerError as error:
            callback((), error)
        else:
            callback(((FIELD.lower(), f"Bearer {token}"),), None)
