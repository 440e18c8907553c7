"""Minting for a crew: the orchestrator, its sub-agents' handles, and single tokens.

An `Orchestrator` knows its branches, their newest tokens and what is revoked (`issuer_state`); a
`Minter` signs within the crew's ceilings. A grant is in the `journal` on disk before its token
leaves the process, and a revoked branch gets no further token, whatever the disk or the gateway
says. `remote` is an orchestrator without a key: a gateway signs for it.

Each HTTP client has a `TokenAuth` of its own, which presents a sub-agent's token: in `httpx_auth`,
`httpx2_auth`, `requests_auth`, `aiohttp_auth` and `grpc_auth` of this package, modules that import
that client. Their `NoTokenError` is an error of the client as well; `crewgate` has all others.
"""

from crewgate.core.policy.policy import CrewPolicy, VerificationKey
from crewgate.core.tokens.claims import Claims, PathElement
from crewgate.issuer.gateway import BranchUsage, GatewayClient, RevocationReceipt
from crewgate.issuer.inspection import TokenInspection, inspect_token, read_claims
from crewgate.issuer.mint import MintedToken, Minter
from crewgate.issuer.orchestrator import Orchestrator
from crewgate.issuer.signing import SigningKey
from crewgate.issuer.subagent import SubAgent

__all__ = [
    "BranchUsage",
    "Claims",
    "CrewPolicy",
    "GatewayClient",
    "MintedToken",
    "Minter",
    "Orchestrator",
    "PathElement",
    "RevocationReceipt",
    "SigningKey",
    "SubAgent",
    "TokenInspection",
    "VerificationKey",
    "inspect_token",
    "read_claims",
]
