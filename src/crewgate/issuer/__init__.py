"""Mints tokens for a crew: for an orchestrator and its sub-agents, or one token at a time.

An `Orchestrator` knows its branches, their newest tokens and which of them are revoked
(`issuer_state`). A `Minter` signs tokens within the limits of the crew. The `journal` has a grant
on disk before its token leaves the process. A revoked branch gets no further token, even if the
disk or the gateway fails. For an orchestrator without a signing key, `remote` has
`remote_orchestrator`: a gateway signs its tokens.

A `TokenAuth` presents a sub-agent's token in the requests of an HTTP client. Each client has its
own, in a module that imports the client: `httpx_auth`, `httpx2_auth`, `requests_auth`,
`aiohttp_auth` and `grpc_auth`. Their `NoTokenError` is also an error of the client. All other
errors are in `crewgate`.
"""

from crewgate.core.policy.policy import CrewPolicy, VerificationKey
from crewgate.core.tokens.claims import Claims, PathElement
from crewgate.runtime.optional_packages import install_hint

try:
    from crewgate.issuer.gateway import BranchUsage, GatewayClient, RevocationReceipt
    from crewgate.issuer.inspection import TokenInspection, inspect_token, read_claims
    from crewgate.issuer.mint import MintedToken, Minter
    from crewgate.issuer.orchestrator import Orchestrator
    from crewgate.issuer.signing import SigningKey
    from crewgate.issuer.subagent import SubAgent
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(install_hint("crewgate.issuer", "issuer"), name=error.name) from error

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
