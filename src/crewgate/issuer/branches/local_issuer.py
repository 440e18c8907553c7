"""Grants branches with a signing key of this machine; a journal has each grant first.

No thread holds the lock while it waits for the gateway, so a slow gateway does not delay a branch
that has a fresh token.
"""

from collections.abc import Mapping

import msgspec

from crewgate.core.tokens.claims import is_text
from crewgate.core.tokens.subjects import ProvenSubject
from crewgate.errors import ExtensionRefusedError, IssuerError, ScopeError
from crewgate.identity_provider.subject_tokens import SubjectTokenVerifier
from crewgate.issuer.branches.branch_issuer import BranchRequest, GrantChange
from crewgate.issuer.branches.issued_branch_store import IssuedBranchStore
from crewgate.issuer.branches.local_gateway import GatewayClient, RevocationReceipt, process_name
from crewgate.issuer.journal.extension_entries import extended, refused
from crewgate.issuer.journal.journal_entries import POLICY, GrantWay, MintRecord
from crewgate.issuer.mint import MintedToken, Minter


class LocalIssuer:
    """Implements `BranchIssuer` with a `Minter`.

    `lifetime` is that of each token in seconds. `gateway` is as for `Orchestrator`. `verifier`
    verifies the tokens of identity providers.
    """

    def __init__(
        self,
        minter: Minter,
        state: IssuedBranchStore,
        lifetime: int,
        gateway: GatewayClient | None,
        verifier: SubjectTokenVerifier | None = None,
    ) -> None:
        self._minter = minter
        self._verifier = verifier
        self._state = state
        self._lifetime = lifetime
        self._gateway = gateway

    def start_run(self, request: BranchRequest) -> MintedToken:
        """See `BranchIssuer`."""
        state, subject = self._state, self._subject(request)
        self._check_not_revoked(subject)
        with state.lock:
            now = state.clock()
            state.forget_ended(now)
            minted = self._minter.root(
                role=request.role,
                tools=request.tools,
                quota=request.quota,
                process=request.process_id or process_name(),
                now=now,
                subject=subject,
                lifetime=self._lifetime,
                binding=request.binding,
                exp_max=_end(request, now),
            )
            self._begin(request, minted, now)
        return minted

    def _subject(self, request: BranchRequest) -> str | ProvenSubject:
        """Return on whose behalf a run acts. A token of an identity provider is verified here."""
        if request.subject_token is None:
            return request.subject or self._minter.client_id
        if request.subject is not None:
            raise IssuerError("subject_token: the token says the subject; leave out `subject`")
        if self._verifier is None:
            raise IssuerError("subject_token: this orchestrator knows no identity provider")
        crew, now = self._minter.crew.name, self._state.clock()
        return self._verifier.verify(request.subject_token, crew, now)

    def _check_not_revoked(self, subject: str | ProvenSubject) -> None:
        text, gateway = subject if isinstance(subject, str) else subject.text, self._gateway
        # The minter refuses a text that no token can hold.
        if gateway is not None and is_text(text) and gateway.is_subject_revoked(text):
            raise IssuerError(
                f"subject {text[:64]!r} was revoked: for a day, no run can begin on its behalf"
            )

    def spawn(self, parent: str, request: BranchRequest) -> MintedToken:
        """See `BranchIssuer`; the parent's remaining credits are as the gateway knows them."""
        spent, state = self._ask_usage(parent), self._state
        with state.lock:
            state.read_commands()
            now = state.clock()
            claims = state.branches.living(parent).claims
            state.forget_ended(now)
            minted = self._minter.child(
                claims,
                role=request.role,
                tools=request.tools,
                quota=request.quota,
                process=request.process_id or process_name(),
                now=now,
                lifetime=self._lifetime,
                binding=request.binding,
                exp_max=_end(request, now),
            )
            if not request.overcommit:
                state.branches.check_credits_fit(claims, {"": request.quota}, spent, now)
            self._begin(request, minted, now)
        return minted

    def extend(self, branch: str, change: GrantChange) -> str:
        """See `BranchIssuer`; the journal gets a line if the limits or the parent refuse."""
        spent, state = self._ask_usage(branch), self._state
        with state.lock:
            state.read_commands()
            try:
                return self._extend(branch, change, spent)
            except (ExtensionRefusedError, ScopeError) as error:
                decided = msgspec.structs.replace(change, decided_by=POLICY, answer=str(error))
                self.refuse(branch, decided)
                raise

    def renew(self, branch: str, way: GrantWay = GrantWay.RENEWAL) -> str:
        """See `BranchIssuer`."""
        state = self._state
        with state.lock:
            is_renewable = state.extension_limits.is_renewable(state.branches.living(branch))
        spent = self._ask_usage(branch) if is_renewable else {}
        with state.lock:
            state.read_commands()
            reason = "expires" if state.tokens.get(branch) else "resumed"
            change = GrantChange(reason=reason, way=way, decided_by=POLICY)
            try:
                # Another thread may have renewed it meanwhile.
                return state.fresh_token(branch) or self._extend(branch, change, spent)
            except (ExtensionRefusedError, ScopeError) as error:
                self.refuse(branch, msgspec.structs.replace(change, answer=str(error)))
                return state.last_token(branch, error)
            except IssuerError as error:
                return state.last_token(branch, error)

    def refuse(self, branch: str, change: GrantChange) -> None:
        """See `BranchIssuer`; of refused renewals, the journal gets one line for each grant.

        Raises:
            JournalError: The journal cannot be written.
        """
        state = self._state
        with state.lock:
            known = state.branches.living(branch)
            entry = refused(known.claims, change, state.name, state.clock())
            if not entry.is_renewal or entry.grant != known.refused_grant:
                state.refuse(entry)

    def revoke(self, branch: str, reason: str = "") -> RevocationReceipt | None:
        """See `BranchIssuer`."""
        return None if self._gateway is None else self._gateway.revoke(branch, reason)

    def revoke_subject(self, subject: str, reason: str = "") -> RevocationReceipt | None:
        """See `BranchIssuer`."""
        return None if self._gateway is None else self._gateway.revoke_subject(subject, reason)

    def close(self) -> None:
        """Do nothing: the orchestrator closes the state."""

    def _ask_usage(self, branch: str) -> Mapping[str, int]:
        """Return what the branch and its relatives have spent, and mark the revoked ones."""
        if self._gateway is None:
            return {}
        with self._state.lock:
            relatives = self._state.branches.relatives(branch, self._state.clock())
            claims = self._state.branches.living(branch).claims
        if self._gateway.is_subject_revoked(claims.sub):
            run = claims.branch_path[0].id if claims.branch_path else branch
            self._state.mark_revoked(run, reason=f"subject {claims.sub} was revoked")
            return {}
        usage = self._gateway.usage(relatives)
        for relative, known in usage.items():
            if known.is_revoked:
                self._state.mark_revoked(relative, reason="revoked at the gateway")
        return {relative: known.spent_micro for relative, known in usage.items()}

    def _begin(self, request: BranchRequest, minted: MintedToken, now: float) -> None:
        entry = MintRecord(
            now,
            minted.claims,
            request.reason,
            request.overcommit,
            way=request.way,
            decided_by=request.decided_by,
            ends_at=_end(request, now),
        )
        self._state.grant(entry, minted)

    def _extend(self, branch: str, change: GrantChange, spent: Mapping[str, int]) -> str:
        state = self._state
        now, known = state.clock(), state.branches.living(branch)
        terms = state.extension_limits.terms(known, change, now)
        minted = self._minter.extend(
            known.claims,
            now=now,
            tools=terms.tools,
            quota=terms.quota,
            path=state.branches.path_of(known.claims),
            lifetime=self._lifetime,
            exp_max=terms.exp_max,
            binding=change.binding,
        )
        state.branches.check_extension(minted.claims, spent, now, overcommit=change.overcommit)
        state.grant(extended(known.claims, minted.claims, change, terms.ends_at, now), minted)
        state.tokens.write(branch, now)
        return minted.token


def _end(request: BranchRequest, now: float) -> int | None:
    return None if request.seconds is None else int(now) + request.seconds
