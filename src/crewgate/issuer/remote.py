"""An orchestrator on another host, for which a gateway's control API signs, over mutual TLS.

The gateway has the signing key and the journal, and writes a line for each grant before it returns
the token. The orchestrator has the newest tokens and the revoked branches in memory. If the file of
the certificate changes, the orchestrator reads it again: so you can renew the certificate in place.

No thread holds the orchestrator's lock while it waits for the API. So a call for a token that is
still fresh does not wait.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from crewgate.core.credits import format_credits
from crewgate.core.problem_types import INVALID_SCOPE, NO_FURTHER_TOKEN
from crewgate.core.tokens.claims import Confirmation
from crewgate.errors import (
    BranchRevokedError,
    ConfigurationError,
    ControlError,
    CrewgateError,
    IssuerError,
    JournalLockedError,
    ScopeError,
    ServiceConnectionError,
    ServiceRefusedError,
)
from crewgate.ipc.admin_messages import QuorumResult
from crewgate.issuer.bindings import binding_fields
from crewgate.issuer.control_client import ControlClient, client_context
from crewgate.issuer.inspection import read_claims
from crewgate.issuer.issued_branch_store import IssuedBranchStore
from crewgate.issuer.journal import MintRecord, extension
from crewgate.issuer.local_gateway import RevocationReceipt
from crewgate.issuer.mint import MintedToken
from crewgate.issuer.orchestrator import Orchestrator
from crewgate.issuer.parameters import amount, tool_list
from crewgate.issuer.subagent import SubAgent, branch_of
from crewgate.runtime.file_watch import FileWatch

__all__ = ["remote_orchestrator", "sidecar_orchestrator"]

_log = logging.getLogger(__name__)
# Grant types of OAuth: for a run (RFC 6749, section 4.4), a child (RFC 8693), a further token.
_RUN = "client_credentials"
_CHILD = "urn:ietf:params:oauth:grant-type:token-exchange"
_NEXT = "refresh_token"
_TOKEN = "urn:ietf:params:oauth:token-type:jwt"
# The slug; and the OAuth code, with which an older gateway sends no slug.
_INVALID_SCOPE = {INVALID_SCOPE.slug, INVALID_SCOPE.oauth_error}
_CONFLICT = 409
_TOO_MANY = 429
_SERVER_ERROR = 500


class _Token(msgspec.Struct, frozen=True):
    access_token: str


class _Revocation(msgspec.Struct, frozen=True, omit_defaults=True):
    branch: str
    crew: str = ""


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
            raise _issuer_error(error) from error
        return MintedToken(response.access_token, read_claims(response.access_token))

    def revoke(self, branch: str, crew: str) -> RevocationReceipt:
        """Revoke a branch and all below it.

        Raises:
            ServiceConnectionError: The API cannot be reached, or cannot revoke now: call again.
            ServiceRefusedError: The API refuses; the message has its reason.
        """
        request = _Revocation(branch, crew)
        try:
            with self._lock:
                response = self._current().post("/v1/revocations", request, _RevocationResponse)
        except ControlError as error:
            raise _revocation_error(error) from error
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


class RemoteOrchestrator(Orchestrator):
    """An orchestrator whose tokens a gateway signs; `remote_orchestrator` makes it."""

    def __init__(self, api: RemoteIssuerClient, *, clock: Callable[[], float] = time.time) -> None:
        self._api = api
        self._set_up(IssuedBranchStore(None), clock, name="this host")

    def __repr__(self) -> str:
        return f"<RemoteOrchestrator of {self._api!r} with {len(self._branches)} branches>"

    def close(self) -> None:
        """Stop renewing token files and disconnect. Tokens stay valid until they expire."""
        super().close()
        self._api.close()

    def start_run(
        self,
        *,
        credits: str,  # noqa: A002 - the field's word
        tools: Sequence[str],
        role: str = "orchestrator",
        subject: str | None = None,
        process_id: str | None = None,
        binding: Confirmation | None = None,
        token_file: Path | str | None = None,
        reason: str = "",
    ) -> SubAgent:
        """See `Orchestrator.start_run`; the run acts on behalf of the orchestrator itself."""
        if subject is not None:
            raise IssuerError(
                "subject: the control API makes runs for the orchestrator itself; leave it out"
            )
        form = _form(_RUN, tools, credits, role, process_id, binding)
        self._make_room()
        return self._take(self._api.token(form), token_file, reason)

    def spawn(  # noqa: PLR0913 - keywords
        self,
        *,
        role: str,
        parent: SubAgent | str,
        tools: Sequence[str],
        credits: str,  # noqa: A002 - the field's word
        process_id: str | None = None,
        binding: Confirmation | None = None,
        overcommit: bool = False,
        token_file: Path | str | None = None,
        reason: str = "",
    ) -> SubAgent:
        """See `Orchestrator.spawn`; the gateway checks what credits the parent has left."""
        _no_overcommit(overcommit=overcommit)
        form = _form(_CHILD, tools, credits, role, process_id, binding)
        self._make_room()
        form |= {"subject_token_type": _TOKEN, "subject_token": self.token(branch_of(parent))}
        return self._take(self._sign(form, branch_of(parent)), token_file, reason)

    def refresh(
        self,
        agent: SubAgent | str,
        *,
        credits: str | None = None,  # noqa: A002 - the field's word
        tools: Sequence[str] | None = None,
        overcommit: bool = False,
        reason: str = "",
    ) -> str:
        """See `Orchestrator.refresh`."""
        _no_overcommit(overcommit=overcommit)
        changes = {}
        if credits is not None:
            changes["credits"] = format_credits(amount(credits))
        if tools is not None:
            changes["scope"] = " ".join(tool_list(tools))
        return self._next(branch_of(agent), changes, reason)

    def revoke(self, agent: SubAgent | str, *, reason: str = "") -> RevocationReceipt:
        """See `Orchestrator.revoke`.

        If this orchestrator did not mint the branch, the branch must belong to the orchestrator's
        crew, and the gateway must have seen the branch.
        """
        branch = branch_of(agent)
        with self._lock:
            crew = self._branches.crew_of(branch)
        self.mark_revoked(branch, reason=reason)
        return self._api.revoke(branch, crew)

    def _renewed(self, branch: str) -> str:
        try:
            return self._next(branch)
        except (ServiceConnectionError, IssuerError) as error:
            with self._lock:
                return self._state.last_token(branch, self._clock(), error)

    def _next(self, branch: str, changes: dict[str, str] | None = None, reason: str = "") -> str:
        with self._lock:
            self._branches.living(branch)
            last = self._tokens.get(branch)
        if last is None:
            raise IssuerError(f"branch {branch} has no token here that could be renewed")
        form = {"grant_type": _NEXT, "refresh_token": last.token, **(changes or {})}
        minted = self._sign(form, branch)
        with self._lock:
            now = self._clock()
            # Another thread may have revoked the branch meanwhile; then this raises.
            claims = self._branches.living(branch).claims
            entry = extension(claims, minted.claims, now, reason=reason, overcommit=False)
            self._state.grant(entry, minted)
            self._tokens.write(branch, now)
        return minted.token

    def _sign(self, form: dict[str, str], branch: str) -> MintedToken:
        """Send a form that has the token of `branch`; mark the branch if the API calls it revoked.

        Raises:
            BranchRevokedError: The branch was revoked; and the other errors of the API.
        """
        try:
            return self._api.token(form)
        except BranchRevokedError:
            self.mark_revoked(branch, reason="revoked at the gateway")
            raise

    def _take(self, minted: MintedToken, file: Path | str | None, reason: str) -> SubAgent:
        with self._lock:
            return self._begin(MintRecord(self._clock(), minted.claims, reason), minted, file)

    def _make_room(self) -> None:
        with self._lock:
            self._state.forget_ended(self._clock())


def remote_orchestrator(url: str, certificate: Path | str, *, ca: Path | str) -> Orchestrator:
    """Make the orchestrator that a certificate names, on any host; a gateway signs for it.

    The methods of this orchestrator raise the errors of `Orchestrator`, and ServiceConnectionError
    if the control API cannot be reached or cannot sign now. The orchestrator learns that a branch
    was revoked elsewhere when it next renews or changes the token of that branch, or spawns a child
    of that branch. The control API does not support `subject`, `overcommit` and a lifetime.

    Args:
        url: The URL of the gateway's control API, `https://HOST:PORT`.
        certificate: PREFIX or PREFIX.pem, with the key in PREFIX.key, as `crewgate ca issue
            --out PREFIX` writes them. The orchestrator reads the files again when they change.
        ca: The PEM file of the root that signed the API's certificate.

    Raises:
        ConfigurationError: A file or the URL cannot be used.
    """
    given = Path(certificate)
    prefix = given.with_suffix("") if given.suffix == ".pem" else given
    own, key = (prefix.with_name(f"{prefix.name}.{ending}") for ending in ("pem", "key"))
    return RemoteOrchestrator(RemoteIssuerClient(url, own, key, Path(ca)))


def sidecar_orchestrator() -> Orchestrator:
    """Make the orchestrator of a program that `crewgate run --gateway HOST:PORT` has started.

    HOST:PORT must be the address of the control API. A gateway signs, as for `remote_orchestrator`.
    The program needs no key and no certificate: `crewgate run` shows its own.

    Raises:
        ConfigurationError: `crewgate run` has not started this program.
    """
    socket, url = (os.environ.get(f"CREWGATE_{name}", "") for name in ("SOCKET", "GATEWAY"))
    if not socket or not url:
        raise ConfigurationError(
            "CREWGATE_SOCKET and CREWGATE_GATEWAY are not set; start this program with `crewgate "
            "run --gateway HOST:PORT`, with the address of the control API"
        )
    return RemoteOrchestrator(SidecarIssuerClient(url, Path(socket)))


def _form(
    kind: str,
    tools: Sequence[str],
    credits_: str,
    role: str,
    process: str | None,
    binding: Confirmation | None,
) -> dict[str, str]:
    form = {
        "grant_type": kind,
        "scope": " ".join(tool_list(tools)),
        "credits": format_credits(amount(credits_)),
        "role": role,
    }
    form |= binding_fields(binding)
    return form if process is None else {**form, "process": process}


def _no_overcommit(*, overcommit: bool) -> None:
    if overcommit:
        raise IssuerError("overcommit: the control API does not support it; leave it out")


def _issuer_error(error: ControlError) -> CrewgateError:
    """Convert an error of the API to the error of an orchestrator that has a key."""
    if error.slug in _INVALID_SCOPE:
        return ScopeError(str(error))
    if error.slug == NO_FURTHER_TOKEN.slug:
        return BranchRevokedError(str(error))
    if error.status == _CONFLICT:
        return JournalLockedError(str(error))
    return ServiceConnectionError(str(error)) if _may_pass(error) else IssuerError(str(error))


def _revocation_error(error: ControlError) -> CrewgateError:
    """Return ServiceConnectionError if a later call may succeed, and else ServiceRefusedError."""
    return (
        ServiceConnectionError(str(error)) if _may_pass(error) else ServiceRefusedError(str(error))
    )


def _may_pass(error: ControlError) -> bool:
    return error.status >= _SERVER_ERROR or error.status == _TOO_MANY
