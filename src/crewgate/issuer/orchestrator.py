"""One orchestrator: mints, renews and revokes its crew's branches, and journals each of these.

Decides who may have what: a child within its parent, nothing for a revoked branch, which is revoked
here before any gateway knows. Knows no sockets: a `GatewayClient` says what was spent, and revokes.

Every method may be called from any thread. The gateway is never asked under the lock, so a slow
gateway holds up nobody who has a fresh token.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from crewgate.core.tokens.claims import Claims
from crewgate.errors import IssuerError, JournalError
from crewgate.issuer.gateway import (
    GatewayClient,
    LocalGateway,
    RevocationReceipt,
    minter_of,
    process_name,
)
from crewgate.issuer.issued_token_store import renewal
from crewgate.issuer.issuer_state import IssuerState
from crewgate.issuer.journal import BranchRevoked, MintRecord, extension
from crewgate.issuer.mint import MintedToken, Minter
from crewgate.issuer.parameters import amount, branch_id, tool_list
from crewgate.issuer.subagent import SubAgent, branch_of
from crewgate.issuer.token_file_renewer import TokenFileRenewer

_log = logging.getLogger(__name__)


class Orchestrator:
    """Mints for one crew under one name; use it in a `with`, or `close` it.

    Args:
        minter: What signs.
        journal: The file of the journal, made (0600) if it is not there.
        clock: Gives wall-clock seconds since the epoch.
        lifetime: Seconds of each token; None for the longest that the crew allows.
        gateway: What knows what was spent. Without one, only grants are compared, and revocations
            are known here alone.

    Raises:
        JournalLockedError: Another process is this orchestrator.
        JournalError: The journal is damaged, or cannot be opened.
    """

    def __init__(
        self,
        minter: Minter,
        journal: Path,
        *,
        clock: Callable[[], float] = time.time,
        lifetime: int | None = None,
        gateway: GatewayClient | None = None,
    ) -> None:
        self._minter, self._lifetime = minter, lifetime
        self._gateway = gateway
        self._set_up(IssuerState(journal), clock, minter.client_id)

    def __repr__(self) -> str:
        return f"<Orchestrator {self._name} with {len(self._branches)} branches>"

    @classmethod
    def from_config(
        cls, path: Path | str, *, crew: str, name: str | None = None, lifetime: int | None = None
    ) -> Self:
        """The orchestrator `<crew>/<name>` of a configuration file, with this machine's gateway.

        Its journal is kept in the state folder. `lifetime` is in seconds, as of the class.

        Raises:
            ConfigurationError: The file cannot be used, or has no usable signing key of the crew.
            IssuerError: The crew's key speaks for another orchestrator alone.
            JournalLockedError: Another process is this orchestrator.
            JournalError: The journal is damaged, or cannot be opened.
        """
        config, minter = minter_of(path, crew, name)
        local = LocalGateway(config.state, crew)
        return cls(minter, config.journal_of(minter.client_id), lifetime=lifetime, gateway=local)

    @staticmethod
    def remote(url: str, certificate: Path | str, *, ca: Path | str) -> "Orchestrator":
        """The orchestrator that a certificate names, on any host: a gateway signs for it.

        It has the same methods, which raise the same errors, and LinkError if the API cannot be
        asked. A branch that was revoked elsewhere is a plain IssuerError. The API knows no
        `subject`, no `overcommit` and no lifetime.

        Args:
            url: The gateway's control API, `https://HOST:PORT`.
            certificate: PREFIX or PREFIX.pem, with the key in PREFIX.key, as `crewgate ca issue
                --out PREFIX` writes them. When the files change, they are read again.
            ca: The PEM file of the root that signed the API's certificate.

        Raises:
            ConfigurationError: A file or the URL cannot be used.
        """
        from crewgate.issuer.remote import remote  # noqa: PLC0415 - which is a kind of this one

        return remote(url, certificate, ca)

    def _set_up(self, state: IssuerState, clock: Callable[[], float], name: str) -> None:
        self._clock = clock
        self._name = name
        self._lock = threading.RLock()
        self._renewer: TokenFileRenewer | None = None
        self._state = state
        self._branches = state.branches
        self._tokens = state.tokens

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop renewing token files and let the journal go. Its branches live on until they end."""
        with self._lock:
            renewer, self._renewer = self._renewer, None
        if renewer is not None:
            renewer.close()  # not under the lock: it may be renewing
        with self._lock:
            self._state.close()

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
        """A new root branch: one run of the pipeline.

        Args:
            credits: Credits of the run and of all that it spawns, as decimal text: "10.00".
            tools: Names and patterns: "search.web", "search.*".
            role: What the agent does.
            subject: For whom the run is; the orchestrator itself by default.
            process_id: The process that will hold the token; this one by default.
            token_file: A file (0600) that shall hold a fresh token, as `write_token_file` says.
            reason: Why, for the journal.

        Raises:
            ScopeError: The crew's ceilings do not allow these tools or credits.
            JournalError: The journal cannot be written; nothing was minted.
            IssuerError: Something given is malformed, too many branches are live, or the token file
                cannot be written.
        """
        quota, names = amount(credits), tool_list(tools)
        with self._lock:
            now = self._clock()
            self._state.forget_ended(now)
            minted = self._minter.root(
                role=role,
                tools=names,
                quota=quota,
                process=process_id or process_name(),
                now=now,
                subject=subject,
                lifetime=self._lifetime,
            )
            return self._begin(MintRecord(now, minted.claims, reason), minted, token_file)

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
        """A new branch below `parent`, within its tools, its depth and what is left of its credits.

        Args:
            parent: The handle of the branch above, or its UUID text.
            overcommit: Allow children that together hold more than the parent. The gateways still
                stop all of them at the parent's credits.
            role, tools, credits, process_id, token_file, reason: As of `start_run`.

        Raises:
            BranchRevokedError: The parent was revoked.
            ScopeError: The parent or the crew's ceilings do not allow these tools or credits.
            JournalError: The journal cannot be written; nothing was minted.
            IssuerError: As for `start_run`, or the parent is not known here.
        """
        above, quota, names = branch_of(parent), amount(credits), tool_list(tools)
        spent = self._ask_usage(above)
        with self._lock:
            now = self._clock()
            claims = self._branches.living(above).claims
            self._state.forget_ended(now)
            minted = self._minter.child(
                claims,
                role=role,
                tools=names,
                quota=quota,
                process=process_id or process_name(),
                now=now,
                lifetime=self._lifetime,
            )
            if not overcommit:
                self._branches.check_credits_fit(claims, {"": quota}, spent, now)
            return self._begin(
                MintRecord(now, minted.claims, reason, overcommit), minted, token_file
            )

    def agent(self, branch: str) -> SubAgent:
        """The handle of a branch (UUID text) of this journal, after a restart too.

        Raises:
            BranchRevokedError: The branch was revoked.
            IssuerError: The branch is not known here.
        """
        return SubAgent(self, branch, self.claims(branch).agent_role)

    def claims(self, branch: str) -> Claims:
        """The newest claims of a branch (UUID text); raises as `agent`."""
        with self._lock:
            return self._branches.living(branch).claims

    def token(self, branch: str) -> str:
        """See `SubAgent.token`."""
        with self._lock:
            fresh = self._fresh(branch)
        if fresh is not None:
            return fresh
        spent = self._ask_usage(branch)
        with self._lock:  # another thread may have been faster
            return self._fresh(branch) or self._renew(branch, spent)

    def refresh(
        self,
        agent: SubAgent | str,
        *,
        credits: str | None = None,  # noqa: A002 - the field's word
        tools: Sequence[str] | None = None,
        overcommit: bool = False,
        reason: str = "",
    ) -> str:
        """The next grant of a branch: its token. What is not given stays as it was.

        Args:
            agent: The handle of the branch, or its UUID text.
            overcommit: As of `spawn`.
            credits, tools, reason: As of `start_run`.

        Raises:
            BranchRevokedError: The branch, or one above it, was revoked.
            ScopeError: The parent or the crew's ceilings do not allow these tools or credits, or
                the branch's children hold more.
            JournalError: The journal cannot be written; nothing was minted.
            IssuerError: Something given is malformed, or the branch is not known here.
        """
        branch = branch_of(agent)
        quota = None if credits is None else amount(credits)
        names = None if tools is None else tool_list(tools)
        spent = self._ask_usage(branch)
        with self._lock:
            return self._extend(branch, quota, names, spent, overcommit=overcommit, reason=reason)

    def revoke(self, agent: SubAgent | str, *, reason: str = "") -> RevocationReceipt | None:
        """Revoke a branch (a handle, or any UUID of the crew) and all below it, on all machines.

        First it is revoked here, so that nothing is minted for it whatever comes; then at the
        gateway, whose receipt is returned (None without a gateway). It ends the branch's open calls
        and streams too.

        Raises:
            LinkError: The gateway cannot be reached. Call again: until then its tokens live on.
            RefusedError: The gateway does not revoke it, and says why.
            JournalError: The journal cannot be written. It is revoked here and at the gateway.
            IssuerError: `agent` is no UUID text.
        """
        branch = branch_of(agent)
        try:
            self.mark_revoked(branch, reason=reason)
        except JournalError:
            # A full disk must not keep a branch alive; that it is not written is still an error.
            self._revoke_at_gateway(branch)
            raise
        return self._revoke_at_gateway(branch)

    def mark_revoked(self, branch: str, *, reason: str = "") -> None:
        """Mint nothing for a branch, or below it, from now on: it was revoked elsewhere.

        Raises:
            JournalError: The journal cannot be written. The branch counts as revoked here.
            IssuerError: `branch` is no UUID text.
        """
        entry = BranchRevoked(self._clock(), branch_id(branch), self._name, reason)
        with self._lock:
            self._state.end(entry)

    def write_token_file(self, agent: SubAgent | str, path: Path | str) -> None:
        """Write a branch's token to the file `path` (0600), and each next one in its place.

        That ends with the branch, whose file is removed, or with this orchestrator.

        Raises:
            BranchRevokedError: The branch was revoked.
            IssuerError: The file cannot be written, or the branch is not known here.
        """
        branch = branch_of(agent)
        self.token(branch)
        with self._lock:
            self._tokens.write_to(branch, Path(path))
            if self._renewer is None:
                self._renewer = TokenFileRenewer(
                    lambda: self._tokens.with_file, self.refresh_if_due
                )
                self._renewer.start()
            self._renewer.wake()

    def refresh_if_due(self, branch: str) -> float:
        """Renew a branch's token and its file if it is due; seconds until that. As `token`."""
        self.token(branch)
        with self._lock:
            return self._tokens.write(branch, self._clock())

    def _revoke_at_gateway(self, branch: str) -> RevocationReceipt | None:
        return None if self._gateway is None else self._gateway.revoke(branch)

    def _ask_usage(self, branch: str) -> Mapping[str, int]:
        """What the branch and its relatives have spent; notes which of them are dead."""
        if self._gateway is None:
            return {}
        with self._lock:
            relatives = self._branches.relatives(branch, self._clock())
        usage = self._gateway.usage(relatives)
        for relative, known in usage.items():
            if known.is_revoked:
                self.mark_revoked(relative, reason="dead at the gateway")
        return {relative: known.spent_micro for relative, known in usage.items()}

    def _fresh(self, branch: str) -> str | None:
        claims, minted = self._branches.living(branch).claims, self._tokens.get(branch)
        return minted.token if minted and self._clock() < renewal(claims) else None

    def _renew(self, branch: str, spent: Mapping[str, int]) -> str:
        minted = self._tokens.get(branch)
        try:
            return self._extend(branch, spent=spent, reason="expires" if minted else "resumed")
        except IssuerError as error:
            if minted is None or self._clock() >= minted.claims.exp:
                raise
            _log.warning("branch %s keeps its token for a while: %s", branch, error)
            return minted.token

    def _begin(self, entry: MintRecord, minted: MintedToken, file: Path | str | None) -> SubAgent:
        self._state.grant(entry, minted)
        agent = SubAgent(self, minted.claims.execution_branch_id, minted.claims.agent_role)
        try:
            if file is not None:
                self.write_token_file(agent, file)
        except IssuerError:
            # Nobody has its token, and nobody will: it must not hold on to its credits.
            self.mark_revoked(agent.branch, reason="its token file could not be written")
            raise
        return agent

    def _extend(
        self,
        branch: str,
        quota: int | None = None,
        tools: list[str] | None = None,
        spent: Mapping[str, int] | None = None,
        *,
        overcommit: bool = False,
        reason: str = "",
    ) -> str:
        now = self._clock()
        claims = self._branches.living(branch).claims
        path = self._branches.path_of(claims)
        minted = self._minter.extend(
            claims, now=now, tools=tools, quota=quota, path=path, lifetime=self._lifetime
        )
        self._branches.check_extension(minted.claims, spent or {}, now, overcommit=overcommit)
        entry = extension(claims, minted.claims, now, reason=reason, overcommit=overcommit)
        self._state.grant(entry, minted)
        self._tokens.write(branch, now)
        return minted.token
