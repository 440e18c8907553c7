"""Minting for a crew: the orchestrator, its sub-agents' handles, and single tokens."""

from crewgate.issuer.inspection import TokenInspection, inspect_token, read_claims
from crewgate.issuer.mint import MintedToken, Minter
from crewgate.issuer.orchestrator import Orchestrator
from crewgate.issuer.signing import SigningKey
from crewgate.issuer.subagent import SubAgent

__all__ = [
    "MintedToken",
    "Minter",
    "Orchestrator",
    "SigningKey",
    "SubAgent",
    "TokenInspection",
    "inspect_token",
    "read_claims",
]
