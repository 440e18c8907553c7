"""The operations that the control API needs; the control process implements them.

Each method may raise a CrewgateError, whose text goes to the caller and has no secret. The methods
do not check the caller's rights: `access` has done that.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from crewgate.api.branch_tree_snapshot import BranchTreeSnapshot
from crewgate.api.schemas import (
    CertificateResponse,
    HealthResponse,
    IntrospectionResponse,
    MachinesResponse,
    RevocationResponse,
    RevocationsResponse,
    TokenResponse,
)
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.tokens.claims import Confirmation, ProvenProcess
from crewgate.core.tokens.subjects import ProvenSubject
from crewgate.core.x509.identity_extension import Identity
from crewgate.ipc.admin_messages import Until


class TokenRequest(msgspec.Struct, frozen=True):
    """What a new token should say. `credits` is decimal text.

    For the next token of a branch, empty `tools` and None mean: unchanged. From then on, the tokens
    of the branch are bound to the key of `binding`. `seconds` is when a new branch ends, or how
    much later a branch ends. `reason` is for the journal. `decided_by` is who has decided an
    extension for a sub-agent: "callback" or "policy"; empty if the orchestrator itself asks.
    A run acts on behalf of `subject`, or of the person whom `subject_token` names, a token of an
    identity provider.
    """

    tools: tuple[str, ...] = ()
    credits: str | None = None
    role: str = ""
    process: str | ProvenProcess | None = None
    binding: Confirmation | None = None
    seconds: int | None = None
    reason: str = ""
    decided_by: str = ""
    subject: str | ProvenSubject | None = None
    subject_token: str | None = None


class IssuedCertificateOwner(msgspec.Struct, frozen=True):
    """The orchestrator, gateway or operator that a certificate was issued to."""

    crew: str
    name: str


class CertificateRequest(msgspec.Struct, frozen=True):
    """A certificate to issue for the key of `request` (a CSR, PEM).

    `by` is the serial of the certificate that the client presented. `is_own`: the new certificate
    renews that one, with its names and addresses. `until`: it ends then at the latest, in seconds
    since the epoch; only an agent's needs that.
    """

    identity: Identity
    request: str
    by: str
    is_own: bool = False
    life_seconds: int | None = None
    hosts: Sequence[str] = ()
    until: int | None = None


class Backend(Protocol):
    """The operations behind the API."""

    async def check(self, serial: str) -> None:
        """Raise ControlError 401 unless a connection's certificate is valid now."""

    async def revoke(
        self, target: RevocationTarget, until: Until, by: str, reason: str = ""
    ) -> RevocationResponse:
        """Revoke a target whose kind is `of_configured_crew`. The audit names the caller `by`.

        If the `crew` of a branch is empty, the agent finds it, unless several crews have the id.
        """

    async def revoke_certificate(self, serial: str, reason: str, by: str) -> RevocationResponse:
        """Revoke one certificate. The audit names the caller `by`."""

    async def revoke_orchestrator(
        self, crew: str, name: str, reason: str, by: str
    ) -> RevocationResponse:
        """Revoke all certificates of an orchestrator, and all its tokens issued until now.

        The audit names the caller `by`.
        """

    async def holder(self, serial: str) -> IssuedCertificateOwner | None:
        """Return the owner of a certificate; None if this CA has not issued it."""

    async def knows(self, crew: str, name: str) -> bool:
        """Return whether this CA ever issued a certificate to that orchestrator."""

    async def revocations(self, crew: str, rows_max: int, machine: str = "") -> RevocationsResponse:
        """Return the newest revocations in force of a crew; those of all crews if it is empty.

        They are those that all machines know, or the one that `machine` names.
        """

    async def tree(self, machine: str = "") -> BranchTreeSnapshot:
        """Return the branch tree of all machines, at most `limits.tree_seconds` old.

        With `machine`, return that of one machine.
        """

    async def audit(self, query: Mapping[str, str]) -> bytes:
        """Return what the audits of the machines have, as JSON; `query` has the filters.

        Raises ControlError 400 for a parameter that says nothing.
        """

    async def machines(self, machine: str = "") -> MachinesResponse:
        """Return the health of all machines, or of the one that `machine` names."""

    def claims_known_provider(self, token: str) -> bool:
        """Return whether a token says that a configured identity provider has issued it."""

    async def start_run(self, crew: str, name: str, grant: TokenRequest) -> TokenResponse:
        """Return the first token of a new root branch."""

    async def spawn(self, crew: str, name: str, parent: str, grant: TokenRequest) -> TokenResponse:
        """Return the first token of a new child of the branch of the token `parent`."""

    async def refresh(self, crew: str, name: str, token: str, grant: TokenRequest) -> TokenResponse:
        """Return the next token of the branch of `token`."""

    async def introspect(self, token: str) -> IntrospectionResponse:
        """Return the claims of a token, if gateways would accept it now."""

    async def certify(self, request: CertificateRequest) -> CertificateResponse:
        """Issue a certificate for the key of a CSR."""

    async def certify_server(self, request: str, before: str, by: str) -> CertificateResponse:
        """Issue the next certificate of a server.

        `before` is its present certificate (PEM), `request` a CSR (PEM) of the same key, and `by`
        the serial of the certificate that the client presented.
        """

    async def ocsp(self, request: bytes) -> bytes:
        """Return the response to an OCSP request, both DER (RFC 6960)."""

    async def ocsp_path(self, tail: str) -> bytes:
        """Return the response to a GET whose path ends with `tail`, as the client sent it."""

    async def crl(self) -> bytes:
        """Return the CRL (PEM)."""

    async def health(self) -> HealthResponse:
        """Return whether the gateway is ready, and why not."""
