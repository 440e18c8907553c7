"""Decides about a tool call of an AI agent: who calls, who allowed it, and can the caller pay?

A `Verifier` answers each call with a `Permit` or a `Denial`. `crewgate.asgi` protects an ASGI
application with a verifier. `crewgate.issuer` mints tokens for a crew. The errors of these three
modules are exported here, except `NoTokenError`, which each module with a `TokenAuth` has.
"""

from crewgate._native.permit import Permit
from crewgate.core.problem_types import Reason
from crewgate.core.tokens.claims import Claims, PathElement
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial, SpentWindow
from crewgate.errors import (
    AlreadySettledError,
    BranchRevokedError,
    ConfigurationError,
    CrewgateError,
    ForkedError,
    IssuerError,
    JournalError,
    JournalLockedError,
    ScopeError,
    ServiceConnectionError,
    ServiceRefusedError,
    StreamTerminatedError,
    TableError,
    TableFullError,
)
from crewgate.verifier import DecisionCallback, StandaloneVerifier, Verifier

__version__ = "0.2.0"  # the only place: pyproject.toml reads it

__all__ = [
    "AlreadySettledError",
    "BranchRevokedError",
    "Claims",
    "ConfigurationError",
    "CrewgateError",
    "DecisionCallback",
    "Denial",
    "ForkedError",
    "Grant",
    "IssuerError",
    "JournalError",
    "JournalLockedError",
    "PathElement",
    "Permit",
    "Reason",
    "ScopeError",
    "ServiceConnectionError",
    "ServiceRefusedError",
    "SpentWindow",
    "StandaloneVerifier",
    "StreamTerminatedError",
    "TableError",
    "TableFullError",
    "Verifier",
    "__version__",
]
