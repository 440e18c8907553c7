"""An orchestrator on another host: a gateway's control API signs for it, over mutual TLS.

Holds no signing key and no journal: both are at the gateway, which writes each grant down before it
hands the token out. Holds the newest tokens in memory, and what is dead. When the file of the
certificate changes, it is read again, so a certificate that is renewed in place is shown.

The API is never asked under the lock: a branch with a fresh token does not wait for it.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from crewgate.core.credits import format_credits
from crewgate.errors import (
    ControlError,
    CrewgateError,
    IssuerError,
    JournalLockedError,
    LinkError,
    RefusedError,
    ScopeError,
)
from crewgate.issuer.control_client import ControlClient, client_context
from crewgate.issuer.gateway import RevocationReceipt
from crewgate.issuer.inspection import read_claims
from crewgate.issuer.issuer_state import IssuerState
from crewgate.issuer.journal import MintRecord, extension
from crewgate.issuer.mint import MintedToken
from crewgate.issuer.orchestrator import Orchestrator
from crewgate.issuer.parameters import amount, tool_list
from crewgate.issuer.subagent import SubAgent, branch_of

_log = logging.getLogger(__name__)
_RUN = "client_credentials"  # RFC 6749, section 4.4
_CHILD = "urn:ietf:params:oauth:grant-type:token-exchange"  # RFC 8693
_TOKEN = "urn:ietf:params:oauth:token-type:jwt"
_NEXT = "refresh_token"
_CONFLICT = 409
_TOO_MANY = 429
_SERVER_ERROR = 500


class _Token(msgspec.Struct, frozen=True):
    """Of the answer of the token endpoint, what is read here."""

    access_token: str


class _Revocation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the API is asked to end."""

    branch: str
    crew: str = ""


class _RevocationResponse(msgspec.Struct, frozen=True):
    """Of the API's answer to a revocation, what a receipt has."""

    applied_on: int = 1
    of: int = 1
    ms: float = 0.0
    missing: list[str] = []
    enough: bool = True
    calls_cut: int = 0
    coarsened: bool = False
    never_seen: str = ""


class RemoteIssuerClient:
    """The API at `url`, asked with the certificate and key in two PEM files; for any thread.

    The constructor does not ask the API yet.

    Raises:
        ConfigurationError: The URL or a file cannot be used.
    """

    def __init__(self, url: str, certificate: Path, key: Path, root: Path) -> None:
        self._url, self._files = url, (certificate, key, root)
        self._lock = threading.Lock()
        self._client = ControlClient(url, client_context(*self._files))
        self._stamp = self._look()

    def __repr__(self) -> str:
        return f"<RemoteIssuerClient at {self._client.url}>"

    def close(self) -> None:
        """Let the connection go."""
        with self._lock:
            self._client.close()

    def token(self, form: dict[str, str]) -> MintedToken:
        """What the token endpoint signs.

        Raises:
            LinkError: The API cannot be asked.
            IssuerError: The API refuses; ScopeError or JournalLockedError where it says so.
        """
        try:
            with self._lock:
                found = self._current().submit("/v1/tokens", form, _Token)
        except ControlError as error:
            raise _issuer_error(error) from error
        return MintedToken(found.access_token, read_claims(found.access_token))

    def revoke(self, branch: str, crew: str) -> RevocationReceipt:
        """Revoke a branch and all below it.

        Raises:
            LinkError: The API cannot be asked, or cannot do it now: ask again.
            RefusedError: The API refuses, and says why.
        """
        ask = _Revocation(branch, crew)
        try:
            with self._lock:
                done = self._current().post("/v1/revocations", ask, _RevocationResponse)
        except ControlError as error:
            raise _revocation_error(error) from error
        return RevocationReceipt(
            machines_applied=done.applied_on,
            machines_total=done.of,
            machines_missing=tuple(done.missing),
            is_complete=done.enough,
            elapsed_ms=done.ms,
            calls_cut=done.calls_cut,
            is_whole_crew=done.coarsened,
            is_known=not done.never_seen,
        )

    def _current(self) -> ControlClient:
        """With the certificate as its file has it now; one that is half written waits."""
        stamp = self._look()
        if stamp != self._stamp:
            try:
                client = ControlClient(self._url, client_context(*self._files))
            except CrewgateError as error:
                _log.warning("the certificate before is shown still: %s", error)
                return self._client
            self._client.close()
            self._client, self._stamp = client, stamp
        return self._client

    def _look(self) -> list[tuple[int, int]]:
        found = []
        for path in self._files:
            try:
                status = path.stat()
            except OSError:
                found.append((0, 0))
            else:
                found.append((status.st_mtime_ns, status.st_ino))
        return found


class RemoteOrchestrator(Orchestrator):
    """See `Orchestrator.remote`."""

    def __init__(self, api: RemoteIssuerClient, *, clock: Callable[[], float] = time.time) -> None:
        self._api = api
        self._set_up(IssuerState(None), clock, name="this host")

    def __repr__(self) -> str:
        return f"<RemoteOrchestrator of {self._api!r} with {len(self._branches)} branches>"

    def close(self) -> None:
        """Stop renewing token files and hang up. Its branches live on until they end."""
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
        token_file: Path | str | None = None,
        reason: str = "",
    ) -> SubAgent:
        """See `Orchestrator.start_run`; the run's subject is the orchestrator itself."""
        if subject is not None:
            raise IssuerError("subject: the control API makes runs for the orchestrator itself")
        form = _form(_RUN, tools, credits, role, process_id)
        self._make_room()
        return self._take(self._api.token(form), token_file, reason)

    def spawn(
        self,
        *,
        role: str,
        parent: SubAgent | str,
        tools: Sequence[str],
        credits: str,  # noqa: A002 - the field's word
        process_id: str | None = None,
        overcommit: bool = False,
        token_file: Path | str | None = None,
        reason: str = "",
    ) -> SubAgent:
        """See `Orchestrator.spawn`; the gateway's journal knows what the parent has left."""
        _no_overcommit(overcommit=overcommit)
        form = _form(_CHILD, tools, credits, role, process_id)
        self._make_room()
        form |= {"subject_token_type": _TOKEN, "subject_token": self.token(branch_of(parent))}
        return self._take(self._api.token(form), token_file, reason)

    def token(self, branch: str) -> str:
        """See `SubAgent.token`. While the API does not answer, the last one as long as it lives."""
        with self._lock:
            fresh = self._fresh(branch)
        if fresh is not None:
            return fresh
        try:
            return self._next(branch)
        except (LinkError, IssuerError) as error:
            with self._lock:
                self._branches.living(branch)
                minted = self._tokens.get(branch)
            if minted is None or self._clock() >= minted.claims.exp:
                raise
            _log.warning("branch %s keeps its token for a while: %s", branch, error)
            return minted.token

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
        more = {}
        if credits is not None:
            more["credits"] = format_credits(amount(credits))
        if tools is not None:
            more["scope"] = " ".join(tool_list(tools))
        return self._next(branch_of(agent), more, reason)

    def revoke(self, agent: SubAgent | str, *, reason: str = "") -> RevocationReceipt:
        """See `Orchestrator.revoke`.

        A branch that is not known here is one of the orchestrator's crew that a gateway has seen.
        """
        branch = branch_of(agent)
        with self._lock:
            crew = self._branches.crew_of(branch)
        self.mark_revoked(branch, reason=reason)
        return self._api.revoke(branch, crew)

    def _next(self, branch: str, more: dict[str, str] | None = None, reason: str = "") -> str:
        """The branch's next token, for its last one."""
        with self._lock:
            self._branches.living(branch)
            last = self._tokens.get(branch)
        if last is None:
            raise IssuerError(f"branch {branch} has no token here to be renewed")
        form = {"grant_type": _NEXT, "refresh_token": last.token, **(more or {})}
        minted = self._api.token(form)
        with self._lock:
            now = self._clock()
            claims = self._branches.living(branch).claims  # it may have been ended meanwhile
            entry = extension(claims, minted.claims, now, reason=reason, overcommit=False)
            self._state.grant(entry, minted)
            self._tokens.write(branch, now)
        return minted.token

    def _take(self, minted: MintedToken, file: Path | str | None, reason: str) -> SubAgent:
        with self._lock:
            return self._begin(MintRecord(self._clock(), minted.claims, reason), minted, file)

    def _make_room(self) -> None:
        """Before the gateway signs anything."""
        with self._lock:
            self._state.forget_ended(self._clock())


def remote(url: str, certificate: Path | str, ca: Path | str) -> RemoteOrchestrator:
    """See `Orchestrator.remote`."""
    chosen = Path(certificate)
    prefix = chosen.with_suffix("") if chosen.suffix == ".pem" else chosen
    own, key = (prefix.with_name(f"{prefix.name}.{ending}") for ending in ("pem", "key"))
    return RemoteOrchestrator(RemoteIssuerClient(url, own, key, Path(ca)))


def _form(
    kind: str, tools: Sequence[str], credits_: str, role: str, process: str | None
) -> dict[str, str]:
    form = {
        "grant_type": kind,
        "scope": " ".join(tool_list(tools)),
        "credits": format_credits(amount(credits_)),
        "role": role,
    }
    return form if process is None else {**form, "process": process}


def _no_overcommit(*, overcommit: bool) -> None:
    if overcommit:
        raise IssuerError("overcommit: the control API does not let children have more together")


def _issuer_error(error: ControlError) -> CrewgateError:
    """As an orchestrator with a key of its own would say it."""
    if error.slug == "invalid_scope":
        return ScopeError(str(error))
    if error.status == _CONFLICT:
        return JournalLockedError(str(error))
    return IssuerError(str(error))


def _revocation_error(error: ControlError) -> CrewgateError:
    """As the agent would say it: LinkError for what may be done later, else RefusedError."""
    may_pass = error.status >= _SERVER_ERROR or error.status == _TOO_MANY
    return LinkError(str(error)) if may_pass else RefusedError(str(error))
