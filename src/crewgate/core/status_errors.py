"""The errors of other protocols for an HTTP status."""

from typing import NamedTuple

from crewgate.core.grpc_status import Code


class StatusErrors(NamedTuple):
    """The gRPC status, and the type of error in the words of the APIs of language models."""

    grpc: Code
    model: str


# As in grpc.io's "HTTP to gRPC status code mapping", except where these are more exact: 400 and 422
# are the caller's argument, 504 is a deadline.
_BY_STATUS = {
    400: StatusErrors(Code.INVALID_ARGUMENT, "invalid_request_error"),
    401: StatusErrors(Code.UNAUTHENTICATED, "authentication_error"),
    403: StatusErrors(Code.PERMISSION_DENIED, "permission_error"),
    404: StatusErrors(Code.UNIMPLEMENTED, "not_found_error"),
    405: StatusErrors(Code.UNIMPLEMENTED, "invalid_request_error"),
    408: StatusErrors(Code.DEADLINE_EXCEEDED, "api_error"),
    413: StatusErrors(Code.RESOURCE_EXHAUSTED, "request_too_large"),
    421: StatusErrors(Code.UNIMPLEMENTED, "api_error"),  # the service is not at this host
    422: StatusErrors(Code.INVALID_ARGUMENT, "invalid_request_error"),
    429: StatusErrors(Code.RESOURCE_EXHAUSTED, "rate_limit_error"),
    431: StatusErrors(Code.RESOURCE_EXHAUSTED, "api_error"),
    500: StatusErrors(Code.INTERNAL, "api_error"),
    501: StatusErrors(Code.UNIMPLEMENTED, "api_error"),
    502: StatusErrors(Code.UNAVAILABLE, "api_error"),
    503: StatusErrors(Code.UNAVAILABLE, "overloaded_error"),
    504: StatusErrors(Code.DEADLINE_EXCEEDED, "api_error"),
    505: StatusErrors(Code.UNIMPLEMENTED, "api_error"),
}
_OTHER = StatusErrors(Code.UNKNOWN, "api_error")


def errors_of(status: int) -> StatusErrors:
    """Return the errors for an HTTP status."""
    return _BY_STATUS.get(status, _OTHER)
