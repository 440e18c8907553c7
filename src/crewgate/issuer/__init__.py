"""Mints tokens for a crew: for an orchestrator and its sub-agents, or one token at a time.

An `Orchestrator` knows the branches that it has minted, their newest tokens, and which branches are
revoked. A `Minter` signs single tokens within the limits of the crew. An orchestrator writes each
grant into a journal on disk before anybody gets the token. A revoked branch gets no further token,
even if the disk or the gateway fails. An orchestrator of `crewgate.issuer.remote` needs no signing
key: a gateway signs the tokens.

A `TokenAuth` presents a sub-agent's token in the requests of an HTTP client. Each client has a
`TokenAuth` in a module that imports the client: `httpx_auth`, `httpx2_auth`, `requests_auth`,
`aiohttp_auth` and `grpc_auth`. If there is no token, `TokenAuth` raises `NoTokenError`, which is
also an error of the client; a call over gRPC fails with UNAVAILABLE. All other errors are in
`crewgate`.
"""

from crewgate.core.policy.policy import Ceiling, CrewPolicy, VerificationKey
from crewgate.core.tokens.claims import Actor, Claims, Confirmation, PathElement, ProvenProcess
from crewgate.core.tokens.subjects import ProvenSubject
from crewgate.runtime.install_hint import install_hint

try:
    from crewgate.identity_provider.subject_tokens import SubjectTokenVerifier
    from crewgate.issuer.auth_flow import TokenHolder
    from crewgate.issuer.branches.local_gateway import BranchUsage, GatewayClient, RevocationReceipt
    from crewgate.issuer.control_api.gateway_address import GatewayAddress
    from crewgate.issuer.extensions.extension_decider import (
        ExtensionDecision,
        ExtensionRequest,
        ExtensionResult,
    )
    from crewgate.issuer.inspection import TokenInspection, inspect_token, read_claims
    from crewgate.issuer.journal.journal_entries import GrantWay
    from crewgate.issuer.mint import MintedToken, Minter
    from crewgate.issuer.orchestrator import Orchestrator
    from crewgate.issuer.processes.sub_agent_process import SubAgentProcess
    from crewgate.issuer.processes.sub_agent_processes import SubAgentCommand
    from crewgate.issuer.proof_key import ProofKey
    from crewgate.issuer.signing import SigningKey
    from crewgate.issuer.subagent import SubAgent
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(install_hint("crewgate.issuer", "issuer"), name=error.name) from error

__all__ = [
    "Actor",
    "BranchUsage",
    "Ceiling",
    "Claims",
    "Confirmation",
    "CrewPolicy",
    "ExtensionDecision",
    "ExtensionRequest",
    "ExtensionResult",
    "GatewayAddress",
    "GatewayClient",
    "GrantWay",
    "MintedToken",
    "Minter",
    "Orchestrator",
    "PathElement",
    "ProofKey",
    "ProvenProcess",
    "ProvenSubject",
    "RevocationReceipt",
    "SigningKey",
    "SubAgent",
    "SubAgentCommand",
    "SubAgentProcess",
    "SubjectTokenVerifier",
    "TokenHolder",
    "TokenInspection",
    "VerificationKey",
    "inspect_token",
    "read_claims",
]
