"""The client of a gateway's control API that an orchestrator without a key mints and revokes with.

If the file of the certificate changes, the client reads it again: so you can renew the certificate
in place.
"""

import logging
import threading
from pathlib import Path

import msgspec

from crewgate.core.problem_types import EXTENSION_REFUSED, INVALID_SCOPE, NO_FURTHER_TOKEN
from crewgate.errors import (
    BranchRevokedError,
    ControlError,
    CrewgateError,
    ExtensionRefusedError,
    IssuerError,
    JournalLockedError,
    ScopeError,
    ServiceConnectionError,
    ServiceRefusedError,
)
from crewgate.ipc.admin_messages import QuorumResult
from crewgate.issuer.branches.local_gateway import RevocationReceipt
from crewgate.issuer.control_api.control_client import ControlClient, client_context
from crewgate.issuer.inspection import read_claims
from crewgate.issuer.mint import MintedToken
from crewgate.runtime.file_watch import FileWatch

_log = logging.getLogger(__name__)
# The slug; and the OAuth code, with which an older gateway sends no slug.
_INVALID_SCOPE = {INVALID_SCOPE.slug, INVALID_SCOPE.oauth_error}
_CONFLICT = 409
_TOO_MANY = 429
_SERVER_ERROR = 500


class _Token(msgspec.Struct, frozen=True):
    access_token: str


class _BranchCertificateRequest(msgspec.Struct, frozen=True):
    request: str
    branch_token: str
    role: str = "agent"

    def __repr__(self) -> str:
        return "<_BranchCertificateRequest>"  # without the token


class _Certificate(msgspec.Struct, frozen=True):
    certificate: str


class _Revocation(msgspec.Struct, frozen=True, omit_defaults=True):
    branch: str = ""
    subject: str = ""
    crew: str = ""
    reason: str = ""


class _RevocationResponse(QuorumResult, frozen=True):
    """The members of the API's response to a revocation that a receipt needs."""

    calls_cut: int = 0
    coarsened: bool = False
    never_seen: str = ""


class RemoteIssuerClient:
    """The client of the API at `url`, with the certificate and key of two PEM files.

    Threads may share it. The constructor does not connect yet.

    Raises:
        ConfigurationError: The URL or a file cannot be used.
    """

    def __init__(self, url: str, certificate: Path, key: Path, root: Path) -> None:
        self._url, self._files = url, (certificate, key, root)
        self._lock = threading.Lock()
        self._watch, self._is_outdated = FileWatch(self._files), False
        self._client = ControlClient(url, client_context(*self._files))

    def __repr__(self) -> str:
        return f"<RemoteIssuerClient at {self._client.url}>"

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._client.close()

    def token(self, form: dict[str, str]) -> MintedToken:
        """Send a form to the token endpoint, and return the token that it signs.

        Raises:
            ServiceConnectionError: The API cannot be reached, or cannot sign now: call again.
            IssuerError: The API refuses; a ScopeError, BranchRevokedError or JournalLockedError if
                that is its reason.
        """
        try:
            with self._lock:
                response = self._current().submit("/v1/tokens", form, _Token)
        except ControlError as error:
            raise issuer_error(error) from error
        return MintedToken(response.access_token, read_claims(response.access_token))

    def branch_certificate(self, request: str, token: str) -> str:
        """Return a certificate for the branch of a token, and its chain to the root (PEM).

        `request` is a CSR (PEM).

        Raises:
            ServiceConnectionError: The API cannot be reached, or cannot sign now: call again.
            IssuerError: The API refuses; the message has its reason.
        """
        body = _BranchCertificateRequest(request, token)
        try:
            with self._lock:
                response = self._current().post("/v1/certificates", body, _Certificate)
        except ControlError as error:
            raise issuer_error(error) from error
        return response.certificate

    def revoke(self, branch: str, crew: str, reason: str = "") -> RevocationReceipt:
        """Revoke a branch and all below it; an empty `reason` sends none.

        Raises:
            ServiceConnectionError: The API cannot be reached, or cannot revoke now: call again.
            ServiceRefusedError: The API refuses; the message has its reason.
        """
        return self._revoke(_Revocation(branch=branch, crew=crew, reason=reason))

    def revoke_subject(self, subject: str, crew: str, reason: str = "") -> RevocationReceipt:
        """Revoke all runs of a subject of a crew; raises the errors of `revoke`."""
        return self._revoke(_Revocation(subject=subject, crew=crew, reason=reason))

    def _revoke(self, request: _Revocation) -> RevocationReceipt:
        try:
            with self._lock:
                response = self._current().post("/v1/revocations", request, _RevocationResponse)
        except ControlError as error:
            raise revocation_error(error) from error
        return RevocationReceipt(
            machines_applied=response.applied_on,
            machines_total=response.of,
            machines_missing=tuple(response.missing),
            machines_missing_more=response.missing_more,
            is_complete=response.enough,
            elapsed_ms=response.ms,
            calls_cut=response.calls_cut,
            is_whole_crew=response.coarsened,
            is_known=not response.never_seen,
        )

    def _current(self) -> ControlClient:
        """Return a client with the newest certificate that is usable."""
        self._is_outdated = bool(self._watch.changed()) or self._is_outdated
        if self._is_outdated:
            try:
                client = ControlClient(self._url, client_context(*self._files))
            except CrewgateError as error:
                # The file may be half written.
                _log.warning("still presenting the previous client certificate: %s", error)
                return self._client
            self._client.close()
            self._client, self._is_outdated = client, False
        return self._client


class SidecarIssuerClient(RemoteIssuerClient):
    """The client of the API behind the unix socket of `crewgate run`, which has the certificate."""

    def __init__(self, url: str, socket: Path) -> None:
        self._lock = threading.Lock()
        self._client = ControlClient(url, socket)

    def _current(self) -> ControlClient:
        return self._client


def pem_pair(certificate: Path | str) -> tuple[Path, Path]:
    """Return the files of a certificate and its key, by PREFIX or PREFIX.pem."""
    given = Path(certificate)
    prefix = given.with_suffix("") if given.suffix == ".pem" else given
    return prefix.with_name(f"{prefix.name}.pem"), prefix.with_name(f"{prefix.name}.key")


def issuer_error(error: ControlError) -> CrewgateError:
    """Convert an error of the API to the error of an orchestrator that has a key."""
    if error.slug in _INVALID_SCOPE:
        return ScopeError(str(error))
    if error.slug == EXTENSION_REFUSED.slug:
        return ExtensionRefusedError(str(error))
    if error.slug == NO_FURTHER_TOKEN.slug:
        return BranchRevokedError(str(error))
    if error.status == _CONFLICT:
        return JournalLockedError(str(error))
    return ServiceConnectionError(str(error)) if _may_pass(error) else IssuerError(str(error))


def revocation_error(error: ControlError) -> CrewgateError:
    """Return ServiceConnectionError if a later call may succeed, and else ServiceRefusedError."""
    return (
        ServiceConnectionError(str(error)) if _may_pass(error) else ServiceRefusedError(str(error))
    )


def _may_pass(error: ControlError) -> bool:
    return error.status >= _SERVER_ERROR or error.status == _TOO_MANY
