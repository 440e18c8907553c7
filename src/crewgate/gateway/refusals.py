"""How the gateway refuses: the problems that all share (`core/problems`), and its own.

Knows verdicts and texts only, neither requests nor connections.
"""

from collections.abc import Iterable

from crewgate.core import problems, protected_resource
from crewgate.core.http import HeaderField
from crewgate.core.problems import PROBLEM_TYPES, ProblemType, Refusal, event, grpc_fields, kind_of
from crewgate.core.verdict import Denial
from crewgate.errors import UpstreamError, UpstreamTimeoutError, UpstreamUnavailableError

__all__ = [
    "METADATA_PATH",
    "PROBLEM_TYPES",
    "ProblemType",
    "event",
    "grpc_fields",
    "kind_of",
    "refusal",
]

METADATA_PATH = protected_resource.PATH.encode()

AUDIT_UNAVAILABLE = ProblemType(
    "audit-unavailable", 503, "The audit cannot be written", "Retry later."
)
BODY_TOO_LARGE = ProblemType(
    "body-too-large",
    413,
    "The body is too large",
    "This tool takes no request of this size.",
)
BUSY = ProblemType(
    "busy",
    503,
    "Too much is being read",
    "Other requests fill the room that there is for reading prices. Retry shortly.",
)
MISDIRECTED = ProblemType(
    "misdirected", 421, "Not this gateway", "This listener serves other hosts."
)
UPSTREAM_FAILED = ProblemType(
    "upstream-failed", 502, "The tool's server failed", "It did not answer."
)
UPSTREAM_TIMEOUT = ProblemType(
    "upstream-timeout",
    504,
    "The tool's server is too slow",
    "It did not answer in time.",
)
UPSTREAM_UNAVAILABLE = ProblemType(
    "upstream-unavailable",
    503,
    "The tool's servers do not answer",
    "They are called again when they do. Retry later.",
)


def failed(error: UpstreamError) -> ProblemType:
    """Return how a client is told that there is no answer."""
    if isinstance(error, UpstreamTimeoutError):
        return UPSTREAM_TIMEOUT
    return UPSTREAM_UNAVAILABLE if isinstance(error, UpstreamUnavailableError) else UPSTREAM_FAILED


def refusal(
    kind: ProblemType,
    request: bytes,
    denial: Denial | None = None,
    *,
    authority: bytes,
    asked: Iterable[HeaderField],
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
