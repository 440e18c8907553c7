"""What the control API asks for; the control process does it.

Every method may raise a CrewgateError, whose text is for the caller: no secret is in it. Nothing
here judges whether the caller may ask: `access` has done that.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from crewgate.api.schemas import (
    CertificateResponse,
    HealthResponse,
    IntrospectionResponse,
    RevocationResponse,
    TokenResponse,
)
from crewgate.api.snapshot import Snapshot
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.x509.identity import Identity
from crewgate.ipc.admin_messages import Until


class TokenRequest(msgspec.Struct, frozen=True):
    """What a token is asked for. `credits` is decimal text; None and empty: as it was."""

    tools: tuple[str, ...] = ()
    credits: str | None = None
    role: str = ""
    process: str = ""


class CertificateOwner(msgspec.Struct, frozen=True):
    """Whom a certificate was issued to."""

    crew: str
    name: str


class CertificateRequest(msgspec.Struct, frozen=True):
    """What certificate is asked for, and by the holder of which one (`by`, a serial).

    `is_own`: it is the next one of the same holder, with the names and addresses of that one.
    """

    identity: Identity
    request: str  # a CSR, PEM
    by: str
    is_own: bool = False
    life_seconds: int | None = None
    hosts: Sequence[str] = ()


class Backend(Protocol):
    """The work behind the API."""

    async def check(self, serial: str) -> None:
        """ControlError 401 unless the certificate that a connection has shown is good now."""

    async def revoke(self, target: RevocationTarget, until: Until) -> RevocationResponse:
        """Revoke a target whose kind is `of_configured_crew`.

        The `crew` of a branch, where it is empty, is found out if that is plain.
        """

    async def revoke_certificate(self, serial: str, reason: str) -> RevocationResponse:
        """Revoke one certificate."""

    async def revoke_orchestrator(self, crew: str, name: str, reason: str) -> RevocationResponse:
        """Revoke all certificates of an orchestrator, and all its tokens until now."""

    async def holder(self, serial: str) -> CertificateOwner | None:
        """Whom a certificate was issued to; None if this CA has not issued it."""

    async def knows(self, crew: str, name: str) -> bool:
        """Whether this CA has issued a certificate to that orchestrator, good or not."""

    async def tree(self) -> Snapshot:
        """The auth graph, at most `limits.tree_seconds` old."""

    async def start_run(self, crew: str, name: str, grant: TokenRequest) -> TokenResponse:
        """The first token of a new root."""

    async def spawn(self, crew: str, name: str, parent: str, grant: TokenRequest) -> TokenResponse:
        """The first token of a child of the branch that the token `parent` is for."""

    async def refresh(self, crew: str, name: str, token: str, grant: TokenRequest) -> TokenResponse:
        """The next token of the branch that `token` is for."""

    async def introspect(self, token: str) -> IntrospectionResponse:
        """What a token says, if gateways would accept it now."""

    async def certify(self, request: CertificateRequest) -> CertificateResponse:
        """Sign a leaf for the key of a CSR."""

    async def certify_server(self, request: str, before: str, by: str) -> CertificateResponse:
        """Sign the next of a server's certificate (PEM) for its key, of which there is a CSR.

        `by` is the serial of the certificate that the client has shown.
        """

    async def ocsp(self, request: bytes) -> bytes:
        """The answer to a question of RFC 6960, as DER."""

    async def ocsp_path(self, tail: str) -> bytes:
        """The same for a GET whose path goes on with `tail`, as it was sent."""

    async def crl(self) -> bytes:
        """The list of revoked certificates, as PEM."""

    async def health(self) -> HealthResponse:
        """Whether the gateway is ready."""
