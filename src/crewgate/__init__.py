"""Decides about a tool call of an AI agent: who calls, who allowed it, and can the caller pay?

A `Verifier` answers each call with a `Permit` or a `Denial`. `crewgate.asgi` protects an ASGI
application with a verifier. `crewgate.issuer` mints tokens for a crew. The errors of these three
modules are exported here, except `NoTokenError`, which each module with a `TokenAuth` has.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from crewgate.version import __version__

if TYPE_CHECKING:
    from crewgate._native.permit import Permit
    from crewgate.core.policy.call_limits import LimitReached
    from crewgate.core.reasons import Reason
    from crewgate.core.rules.rule import Rule, RuleKind, RuleMode, RuleStep, StepFinding
    from crewgate.core.tokens.claims import Actor, Claims, Confirmation, PathElement
    from crewgate.core.tokens.grant import Grant
    from crewgate.core.verdict import Denial, SpentWindow
    from crewgate.errors import (
        AlreadySettledError,
        BranchRevokedError,
        ConfigurationError,
        CrewgateError,
        ExtensionRefusedError,
        ForkedError,
        IssuerError,
        JournalError,
        JournalLockedError,
        ScopeError,
        ServiceConnectionError,
        ServiceRefusedError,
        StreamTerminatedError,
        SubjectTokenError,
        TableError,
        TableFullError,
    )
    from crewgate.verifier import DecisionCallback, DPoPProof, StandaloneVerifier, Verifier

__all__ = [
    "Actor",
    "AlreadySettledError",
    "BranchRevokedError",
    "Claims",
    "ConfigurationError",
    "Confirmation",
    "CrewgateError",
    "DPoPProof",
    "DecisionCallback",
    "Denial",
    "ExtensionRefusedError",
    "ForkedError",
    "Grant",
    "IssuerError",
    "JournalError",
    "JournalLockedError",
    "LimitReached",
    "PathElement",
    "Permit",
    "Reason",
    "Rule",
    "RuleKind",
    "RuleMode",
    "RuleStep",
    "ScopeError",
    "ServiceConnectionError",
    "ServiceRefusedError",
    "SpentWindow",
    "StandaloneVerifier",
    "StepFinding",
    "StreamTerminatedError",
    "SubjectTokenError",
    "TableError",
    "TableFullError",
    "Verifier",
    "__version__",
]

# The module of each name, which is imported when the name is first used: a process of a gateway
# imports this package too, and needs few of the names.
_MODULES = {
    "Permit": "crewgate._native.permit",
    "LimitReached": "crewgate.core.policy.call_limits",
    "Reason": "crewgate.core.reasons",
    "Rule": "crewgate.core.rules.rule",
    "RuleKind": "crewgate.core.rules.rule",
    "RuleMode": "crewgate.core.rules.rule",
    "RuleStep": "crewgate.core.rules.rule",
    "StepFinding": "crewgate.core.rules.rule",
    "Claims": "crewgate.core.tokens.claims",
    "Actor": "crewgate.core.tokens.claims",
    "Confirmation": "crewgate.core.tokens.claims",
    "PathElement": "crewgate.core.tokens.claims",
    "Grant": "crewgate.core.tokens.grant",
    "Denial": "crewgate.core.verdict",
    "SpentWindow": "crewgate.core.verdict",
    "AlreadySettledError": "crewgate.errors",
    "BranchRevokedError": "crewgate.errors",
    "ConfigurationError": "crewgate.errors",
    "CrewgateError": "crewgate.errors",
    "ExtensionRefusedError": "crewgate.errors",
    "ForkedError": "crewgate.errors",
    "IssuerError": "crewgate.errors",
    "JournalError": "crewgate.errors",
    "JournalLockedError": "crewgate.errors",
    "ScopeError": "crewgate.errors",
    "ServiceConnectionError": "crewgate.errors",
    "ServiceRefusedError": "crewgate.errors",
    "StreamTerminatedError": "crewgate.errors",
    "SubjectTokenError": "crewgate.errors",
    "TableError": "crewgate.errors",
    "TableFullError": "crewgate.errors",
    "DPoPProof": "crewgate.verifier",
    "DecisionCallback": "crewgate.verifier",
    "StandaloneVerifier": "crewgate.verifier",
    "Verifier": "crewgate.verifier",
}

if not TYPE_CHECKING:  # else a type checker takes any name for one of this package

    def __getattr__(name: str) -> object:
        """Import what a program first uses of this package; PEP 562.

        Raises:
            AttributeError: the package has no such name.
        """
        if name in {"errors", "verifier"}:  # a program may use them after `import crewgate` alone
            return import_module(f"{__name__}.{name}")
        if name not in _MODULES:
            text = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(text)
        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value

    def __dir__() -> list[str]:
        """Return the names with those that are not imported yet."""
        return sorted({*globals(), *_MODULES})
