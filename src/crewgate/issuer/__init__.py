"""Minting for a crew: the orchestrator, its sub-agents' handles, and single tokens."""

from crewgate.issuer.inspection import Inspection, inspect_token, read_claims
from crewgate.issuer.mint import Minted, Minter
from crewgate.issuer.orchestrator import Orchestrator
from crewgate.issuer.signing import SigningKey
from crewgate.issuer.subagent import SubAgent

__all__ = [
    "Inspection",
    "Minted",
    "Minter",
    "Orchestrator",
    "SigningKey",
    "SubAgent",
    "inspect_token",
    "read_claims",
]
