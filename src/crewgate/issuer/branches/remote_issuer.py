"""Has a gateway grant the branches of an orchestrator that has no signing key.

No thread holds the lock while it waits for the API. So a call for a token that is still fresh does
not wait.
"""

import logging
import threading
from typing import NamedTuple

from crewgate import limits
from crewgate.core.credits import format_credits
from crewgate.core.tokens.claims import ProvenProcess
from crewgate.core.tokens.subjects import ProvenSubject
from crewgate.errors import (
    BranchRevokedError,
    ExtensionRefusedError,
    IssuerError,
    ServiceConnectionError,
)
from crewgate.issuer.bindings import binding_fields
from crewgate.issuer.branches.branch_issuer import BranchRequest, GrantChange
from crewgate.issuer.branches.issued_branch_store import IssuedBranchStore
from crewgate.issuer.branches.local_gateway import RevocationReceipt
from crewgate.issuer.control_api.remote_issuer_client import RemoteIssuerClient
from crewgate.issuer.journal.extension_entries import extended
from crewgate.issuer.journal.journal_entries import CALLBACK, POLICY, GrantWay, MintRecord
from crewgate.issuer.mint import MintedToken

_log = logging.getLogger(__name__)
# Grant types of OAuth: for a run (RFC 6749, section 4.4), a child (RFC 8693), a further token.
_RUN = "client_credentials"
_CHILD = "urn:ietf:params:oauth:grant-type:token-exchange"
_NEXT = "refresh_token"
_TOKEN = "urn:ietf:params:oauth:token-type:jwt"
_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"


class _Refusal(NamedTuple):
    """A refused renewal, which the gateway would refuse again."""

    grant: str
    error: ExtensionRefusedError
    at: float

    def is_in_force(self, grant: str, now: float) -> bool:
        """Return whether it is about the token `grant`, and so young that nobody asks again."""
        return grant == self.grant and now < self.at + limits.renewal_refused_seconds


class RemoteIssuer:
    """Implements `BranchIssuer` with the control API of a gateway."""

    def __init__(self, api: RemoteIssuerClient, state: IssuedBranchStore) -> None:
        self._api, self._state = api, state
        self._extending = threading.Lock()
        self._refusals: dict[str, _Refusal] = {}

    def __repr__(self) -> str:
        return f"<RemoteIssuer of {self._api!r}>"

    def close(self) -> None:
        """Disconnect."""
        self._api.close()

    def start_run(self, request: BranchRequest) -> MintedToken:
        """See `BranchIssuer`; the gateway verifies a token of an identity provider."""
        form = _form(_RUN, request)
        if request.subject_token is not None:
            shown = {"subject_token_type": _ID_TOKEN, "subject_token": request.subject_token}
            form |= {"grant_type": _CHILD, **shown}
        if isinstance(request.subject, ProvenSubject):
            raise IssuerError("subject: the gateway proves it; pass the token as subject_token")
        if request.subject is not None:
            form["subject"] = request.subject
        self._make_room()
        return self._take(self._api.token(form), request)

    def spawn(self, parent: str, request: BranchRequest) -> MintedToken:
        """See `BranchIssuer`; the gateway checks what credits the parent has left."""
        _no_overcommit(overcommit=request.overcommit)
        self._make_room()
        with self._state.lock:
            fresh = self._state.fresh_token(parent)
        shown = {"subject_token_type": _TOKEN, "subject_token": fresh or self.renew(parent)}
        return self._take(self._sign(_form(_CHILD, request) | shown, parent), request)

    def extend(self, branch: str, change: GrantChange) -> str:
        """See `BranchIssuer`."""
        _no_overcommit(overcommit=change.overcommit)
        # The form has the whole new quota. So a second extension must wait for the first one.
        with self._extending:
            form = self._extension_form(branch, change)
            minted, state = self._sign(form, branch), self._state
            with state.lock:
                now = state.clock()
                # Another thread may have revoked the branch meanwhile; then this raises.
                known = state.branches.living(branch)
                ends_at = known.ends_at
                if change.seconds and ends_at is not None:
                    ends_at = max(ends_at, int(now)) + change.seconds
                state.grant(extended(known.claims, minted.claims, change, ends_at, now), minted)
                state.tokens.write(branch, now)
        return minted.token

    def _extension_form(self, branch: str, change: GrantChange) -> dict[str, str]:
        with self._state.lock:
            claims = self._state.branches.living(branch).claims
            last = self._state.tokens.get(branch)
        if last is None:
            raise IssuerError(f"branch {branch} has no token here that could be renewed")
        form = {"grant_type": _NEXT, "refresh_token": last.token}
        if change.quota is not None or change.more_quota:
            quota = claims.credit_quota if change.quota is None else change.quota
            form["credits"] = format_credits(quota + change.more_quota)
        if change.tools is not None or change.more_tools:
            tools = claims.allowed_tools if change.tools is None else change.tools
            form["scope"] = " ".join(
                [*tools, *(each for each in change.more_tools if each not in tools)]
            )
        if change.seconds:
            form["seconds"] = str(change.seconds)
        form |= binding_fields(change.binding)
        if change.reason:
            form["reason"] = change.reason
        if change.decided_by in {CALLBACK, POLICY} and not change.way.is_automatic:
            form["decided_by"] = change.decided_by
        return form

    def renew(self, branch: str, way: GrantWay = GrantWay.RENEWAL) -> str:
        """See `BranchIssuer`."""
        state = self._state
        with state.lock:
            last, refusal = state.tokens.get(branch), self._refusals.get(branch)
            if last and refusal and refusal.is_in_force(last.claims.jti, state.clock()):
                return state.last_token(branch, refusal.error, is_logged=True)
        try:
            return self.extend(branch, GrantChange(way=way, decided_by=POLICY))
        except (ServiceConnectionError, IssuerError) as error:
            with state.lock:
                if last and isinstance(error, ExtensionRefusedError):
                    self._refusals = {
                        name: each
                        for name, each in self._refusals.items()
                        if state.branches.knows(name)
                    }
                    self._refusals[branch] = _Refusal(last.claims.jti, error, state.clock())
                return state.last_token(branch, error)

    def revoke(self, branch: str, reason: str = "") -> RevocationReceipt:
        """See `BranchIssuer`.

        If this orchestrator did not mint the branch, the branch must belong to the orchestrator's
        crew, and the gateway must have seen the branch.
        """
        with self._state.lock:
            crew = self._state.branches.crew_of(branch)
        return self._api.revoke(branch, crew, reason)

    def revoke_subject(self, subject: str, reason: str = "") -> RevocationReceipt:
        """See `BranchIssuer`; the crew is that of the certificate.

        If this orchestrator has begun no run of the subject, the gateway must have seen one.
        """
        with self._state.lock:
            runs = self._state.branches.runs_of(subject)
        return self._api.revoke_subject(subject, runs[0].crew if runs else "", reason)

    def refuse(self, branch: str, change: GrantChange) -> None:
        """See `BranchIssuer`; the gateway has the journal, and hears of granted requests only."""
        _log.warning("branch %s: refused an extension: %s", branch, change.answer)

    def _sign(self, form: dict[str, str], branch: str) -> MintedToken:
        """Send a form that has the token of `branch`; mark the branch if the API calls it revoked.

        Raises:
            BranchRevokedError: The branch was revoked; and the other errors of the API.
        """
        try:
            return self._api.token(form)
        except BranchRevokedError:
            self._state.mark_revoked(branch, reason="revoked at the gateway")
            raise

    def _take(self, minted: MintedToken, request: BranchRequest) -> MintedToken:
        with self._state.lock:
            now = self._state.clock()
            ends_at = None if request.seconds is None else int(now) + request.seconds
            entry = MintRecord(now, minted.claims, request.reason, ends_at=ends_at)
            self._state.grant(entry, minted)
        return minted

    def _make_room(self) -> None:
        with self._state.lock:
            self._state.forget_ended(self._state.clock())


def _form(kind: str, request: BranchRequest) -> dict[str, str]:
    form = {
        "grant_type": kind,
        "scope": " ".join(request.tools),
        "credits": format_credits(request.quota),
        "role": request.role,
    }
    form |= binding_fields(request.binding)
    process = request.process_id
    is_proven = isinstance(process, ProvenProcess)
    given = {
        "process": process.name if isinstance(process, ProvenProcess) else process,
        "process_proven": "true" if is_proven else None,
        "reason": request.reason,
        "seconds": None if request.seconds is None else str(request.seconds),
    }
    return form | {name: text for name, text in given.items() if text}


def _no_overcommit(*, overcommit: bool) -> None:
    if overcommit:
        raise IssuerError("overcommit: the control API does not support it; leave it out")
