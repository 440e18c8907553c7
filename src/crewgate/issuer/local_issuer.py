"""Grants branches with a signing key of this machine; a journal has each grant first.

No thread holds the lock while it waits for the gateway, so a slow gateway does not delay a branch
that has a fresh token.
"""

from collections.abc import Mapping

from crewgate.core.tokens.claims import is_text
from crewgate.errors import IssuerError
from crewgate.issuer.branch_issuer import BranchRequest, GrantChange
from crewgate.issuer.issued_branch_store import IssuedBranchStore
from crewgate.issuer.journal import MintRecord, extension
from crewgate.issuer.local_gateway import GatewayClient, RevocationReceipt, process_name
from crewgate.issuer.mint import MintedToken, Minter


class LocalIssuer:
    """Implements `BranchIssuer` with a `Minter`.

    `lifetime` is that of each token in seconds. `gateway` is as for `Orchestrator`.
    """

    def __init__(
        self, minter: Minter, state: IssuedBranchStore, lifetime: int, gateway: GatewayClient | None
    ) -> None:
        self._minter = minter
        self._state = state
        self._lifetime = lifetime
        self._gateway = gateway

    def start_run(self, request: BranchRequest) -> MintedToken:
        """See `BranchIssuer`."""
        state, subject = self._state, request.subject or self._minter.client_id
        gateway = self._gateway
        # The minter refuses a text that no token can hold.
        if gateway is not None and is_text(subject) and gateway.is_subject_revoked(subject):
            raise IssuerError(
                f"subject {subject[:64]!r} was revoked: for a day, no run can begin on its behalf"
            )
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
            )
            state.grant(MintRecord(now, minted.claims, request.reason), minted)
        return minted

    def spawn(self, parent: str, request: BranchRequest) -> MintedToken:
        """See `BranchIssuer`; the parent's remaining credits are as the gateway knows them."""
        spent, state = self._ask_usage(parent), self._state
        with state.lock:
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
            )
            if not request.overcommit:
                state.branches.check_credits_fit(claims, {"": request.quota}, spent, now)
            entry = MintRecord(now, minted.claims, request.reason, request.overcommit)
            state.grant(entry, minted)
        return minted

    def extend(self, branch: str, change: GrantChange) -> str:
        """See `BranchIssuer`."""
        spent = self._ask_usage(branch)
        with self._state.lock:
            return self._extend(branch, change, spent)

    def renew(self, branch: str) -> str:
        """See `BranchIssuer`."""
        spent, state = self._ask_usage(branch), self._state
        with state.lock:
            reason = "expires" if state.tokens.get(branch) else "resumed"
            try:
                # Another thread may have renewed it meanwhile.
                return state.fresh_token(branch) or self._extend(
                    branch, GrantChange(reason=reason), spent
                )
            except IssuerError as error:
                return state.last_token(branch, error)

    def revoke(self, branch: str) -> RevocationReceipt | None:
        """See `BranchIssuer`."""
        return None if self._gateway is None else self._gateway.revoke(branch)

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

    def _extend(self, branch: str, change: GrantChange, spent: Mapping[str, int]) -> str:
        state = self._state
        now, claims = state.clock(), state.branches.living(branch).claims
        path = state.branches.path_of(claims)
        minted = self._minter.extend(
            claims,
            now=now,
            tools=change.tools,
            quota=change.quota,
            path=path,
            lifetime=self._lifetime,
        )
        overcommit = change.overcommit
        state.branches.check_extension(minted.claims, spent, now, overcommit=overcommit)
        entry = extension(claims, minted.claims, now, reason=change.reason, overcommit=overcommit)
        state.grant(entry, minted)
        state.tokens.write(branch, now)
        return minted.token
