"""How the gateway refuses: the problems that all share (`core/problems`), and its own.

Knows verdicts and texts only, neither requests nor connections.
"""

from collections.abc import Iterable

from crewgate.core import problems, protected_resource
from crewgate.core.problems import KINDS, Field, Kind, Refusal, event, grpc_fields, kind_of
from crewgate.core.verdict import Denial
from crewgate.errors import UpstreamError, UpstreamTimeoutError, UpstreamUnavailableError

__all__ = ["KINDS", "METADATA_PATH", "Kind", "event", "grpc_fields", "kind_of", "refusal"]

METADATA_PATH = protected_resource.PATH.encode()

AUDIT_UNAVAILABLE = Kind("audit-unavailable", 503, "The audit cannot be written", "Retry later.")
BODY_TOO_LARGE = Kind(
    "body-too-large",
    413,
    "The body is too large",
    "This tool takes no request of this size.",
)
BUSY = Kind(
    "busy",
    503,
    "Too much is being read",
    "Other requests fill the room that there is for reading prices. Retry shortly.",
)
MISDIRECTED = Kind("misdirected", 421, "Not this gateway", "This listener serves other hosts.")
UPSTREAM_FAILED = Kind("upstream-failed", 502, "The tool's server failed", "It did not answer.")
UPSTREAM_TIMEOUT = Kind(
    "upstream-timeout",
    504,
    "The tool's server is too slow",
    "It did not answer in time.",
)
UPSTREAM_UNAVAILABLE = Kind(
    "upstream-unavailable",
    503,
    "The tool's servers do not answer",
    "They are called again when they do. Retry later.",
)


def failed(error: UpstreamError) -> Kind:
    """Return how a client is told that there is no answer."""
    if isinstance(error, UpstreamTimeoutError):
        return UPSTREAM_TIMEOUT
    return UPSTREAM_UNAVAILABLE if isinstance(error, UpstreamUnavailableError) else UPSTREAM_FAILED


def refusal(
    kind: Kind,
    request: bytes,
    denial: Denial | None = None,
    *,
    authority: bytes,
    asked: Iterable[Field],
    scope: str = "",
    for_models: bool = False,
) -> Refusal:
    """Return how a request to `authority` is refused, as `problems.refusal` says."""
    return problems.refusal(
        kind,
        request,
        denial,
        asked=asked,
        metadata=b"https://%b%b" % (authority, METADATA_PATH),
        scope=scope,
        for_models=for_models,
    )
