"""One orchestrator: mints for its crew's branches, renews, ends, and journals each of these.

Decides who may have what: a child within its parent, nothing for a dead branch, and a dead branch
is dead here before any gateway is told. Knows no sockets: a `GatewayClient` answers what was spent
and hears of revocations.

Every method may be called from any thread. The gateway is never asked under the lock, so a slow
one holds up nobody who has a fresh token.
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
    journal_of,
    minter_of,
    process_name,
)
from crewgate.issuer.issuer_state import IssuerState
from crewgate.issuer.journal import BranchRevoked, MintRecord, extension
from crewgate.issuer.mint import MintedToken, Minter
from crewgate.issuer.parameters import amount, branch_id, tool_list
from crewgate.issuer.subagent import SubAgent, branch_of
from crewgate.issuer.token_file_renewer import TokenFileRenewer
from crewgate.issuer.token_store import renewal

_log = logging.getLogger(__name__)


class Orchestrator:
    """Mints for one crew under one name; use it in a `with`, or `close` it.

    Without a `gateway` only what was granted is compared, and revocations are known here alone.
    `lifetime` is the seconds of each token; `clock` gives wall-clock seconds.
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
        self._set_up(IssuerState(journal), clock)

    def __repr__(self) -> str:
        return f"<Orchestrator {self._minter.client_id} with {len(self._branches)} branches>"

    @classmethod
    def from_config(
        cls, path: Path | str, *, crew: str, name: str | None = None, lifetime: int | None = None
    ) -> Self:
        """The orchestrator `<crew>/<name>` of a configuration file, with this machine's gateway.

        Its journal is kept in the state folder. ConfigurationError if the crew has no usable
        signing key there; JournalError if another process is this orchestrator.
        """
        config, minter = minter_of(path, crew, name)
        local = LocalGateway(config.state, crew)
        return cls(minter, journal_of(config, minter), lifetime=lifetime, gateway=local)

    @staticmethod
    def remote(url: str, certificate: Path | str, *, ca: Path | str) -> "Orchestrator":
        """The orchestrator that a certificate names, on any host: a gateway signs for it.

        `url` is of the gateway's control API, `https://HOST:PORT`. `certificate` is PREFIX or
        PREFIX.pem, with its key in PREFIX.key, as `crewgate ca issue --out PREFIX` writes them; a
        renewed one is taken up when the files change. `ca` is the root that the API's certificate
        is of. It has the same methods, and they raise the same errors; LinkError says that the API
        cannot be asked. `subject`, `overcommit` and a lifetime are not to be had over the API.
        ConfigurationError for files or a URL that cannot be used.
        """
        from crewgate.issuer.remote import remote  # noqa: PLC0415 - which is a kind of this one

        return remote(url, certificate, ca)

    def _set_up(self, state: IssuerState, clock: Callable[[], float]) -> None:
        """Keep what is known under one lock."""
        self._clock = clock
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
        """A new root: one run of the pipeline, for `subject` (default: the orchestrator itself).

        `credits` is decimal text for the run and all that it spawns. IssuerError if the crew's
        ceilings do not allow it.
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

        IssuerError if it is not, or if the parent is dead. `overcommit=True` allows children that
        together hold more than the parent (the gateways still stop all of them at the parent's
        credits) and is journalled. `token_file` is kept fresh for a child process.
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
        """The handle of a branch of this journal, after a restart too; IssuerError if dead."""
        return SubAgent(self, branch, self.claims(branch).agent_role)

    def claims(self, branch: str) -> Claims:
        """The newest claims of a living branch; IssuerError if it is dead or unknown."""
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
        """The next grant of a branch, from now on: its token. What is not given stays.

        IssuerError if the branch or an ancestor is dead, if what it asks for is outside its
        parent's, or if credits do not fit: its own in the parent's, its children's in its own.
        """
        branch = branch_of(agent)
        quota = None if credits is None else amount(credits)
        names = None if tools is None else tool_list(tools)
        spent = self._ask_usage(branch)
        with self._lock:
            return self._extend(branch, quota, names, spent, overcommit=overcommit, reason=reason)

    def revoke(self, agent: SubAgent | str, *, reason: str = "") -> RevocationReceipt | None:
        """End a branch (a handle, or any UUID of the crew) and all below it, here and everywhere.

        First it is dead here, so that nothing is minted for it whatever comes; then the gateways
        are told, and their receipt is returned (None without a gateway). LinkError if they
        cannot be told (call again, until then its tokens live to their end), JournalError if it
        could not be written down.
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
        """The branch was ended elsewhere: mint nothing for it or below it from now on."""
        entry = BranchRevoked(self._clock(), branch_id(branch), self._minter.client_id, reason)
        with self._lock:
            self._state.end(entry)

    def write_token_file(self, agent: SubAgent | str, path: Path | str) -> None:
        """Keep the file `path` (0600) holding a fresh token of a branch until it or we end."""
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
        """Renew a branch's token if it is due, and its file; seconds until it is due again."""
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
