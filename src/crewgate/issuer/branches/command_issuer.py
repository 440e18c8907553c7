"""Mints for a person at the command line; a journal has each grant before the token is printed.

An orchestrator that runs keeps the lock of its journal. So commands have a journal of their own for
each orchestrator, and hold its lock only while they write. They read the orchestrator's journal
without its lock, and the orchestrator reads the journal of commands. So the limits of extensions
count both, and no command mints for a branch that the orchestrator has revoked.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from crewgate import limits
from crewgate.config import Config
from crewgate.core.policy import scope
from crewgate.core.tokens.claims import Claims
from crewgate.errors import BranchRevokedError, IssuerError, JournalError, JournalLockedError
from crewgate.identity_provider.subject_tokens import SubjectTokenVerifier
from crewgate.issuer.branches.branch_issuer import BranchRequest, GrantChange
from crewgate.issuer.branches.branch_tree import BranchTree, IssuedBranch
from crewgate.issuer.branches.issued_branch_store import IssuedBranchStore
from crewgate.issuer.branches.local_gateway import LocalGateway
from crewgate.issuer.branches.local_issuer import LocalIssuer
from crewgate.issuer.extensions.extension_limits import ExtensionLimits
from crewgate.issuer.journal.journal_reader import JournalReader, in_order_of_time
from crewgate.issuer.journal.mint_journal import MintJournal
from crewgate.issuer.mint import MintedToken, Minter
from crewgate.runtime.durable_files import describe, make_folder

_NOTHING = (
    "Nothing was minted, because each grant of a command must be in its journal: run the command "
    "as the user who owns the state folder, or as root"
)


def person() -> str:
    """Return who runs this command, for the journal."""
    return f"uid {os.getuid()}"


class CommandIssuer:
    """Mints one token with `minter`; the state folder of `config` has the journals.

    `lifetime` is that of the token in seconds; None is the longest that the crew allows. The
    methods raise the errors of `Orchestrator`; a JournalError says that nothing was minted.
    """

    def __init__(self, config: Config, minter: Minter, lifetime: int | None) -> None:
        self._config, self._minter = config, minter
        self._lifetime = minter.lifetime(lifetime)

    def start_run(self, request: BranchRequest) -> MintedToken:
        """Mint the first token of a run."""
        with self._state(self._minter.client_id, None) as state:
            return self._issuer(state, asks_gateway=True).start_run(request)

    def spawn(self, parent: Claims, request: BranchRequest) -> MintedToken:
        """Mint the first token of a child of the branch that a verified token names."""
        with self._state(self._minter.client_id, parent) as state:
            return self._issuer(state, asks_gateway=False).spawn(
                parent.execution_branch_id, request
            )

    def refresh(self, last: Claims, change: GrantChange) -> MintedToken:
        """Mint the next token of the branch whose last token is verified and has these claims."""
        branch = last.execution_branch_id
        with self._state(last.client_id, last) as state:
            if change.seconds and state.branches.living(branch).ends_at is None:
                raise IssuerError(
                    f"branch {branch} has no end that --time could move: leave the option out"
                )
            issuer = self._issuer(state, asks_gateway=change.quota is not None)
            issuer.extend(branch, change)
            minted = state.tokens.get(branch)
        if minted is None:
            raise BranchRevokedError(f"branch {branch} was revoked meanwhile")
        return minted

    def _issuer(self, state: IssuedBranchStore, *, asks_gateway: bool) -> LocalIssuer:
        local = LocalGateway(self._config.state, self._minter.crew.name)
        gateway = local if asks_gateway else None
        verifier = SubjectTokenVerifier(self._config.identity_providers)
        return LocalIssuer(self._minter, state, self._lifetime, gateway, verifier)

    @contextmanager
    def _state(self, orchestrator: str, token: Claims | None) -> Iterator[IssuedBranchStore]:
        """Yield what the journals know of a token's branch and its relatives, to mint with it."""
        branches = PartialBranchTree()
        if token is not None:
            names = [token.execution_branch_id, *(each.id for each in token.branch_path)]
            owners = {orchestrator, token.client_id}
            paths = [self._config.journal_of(each) for each in owners]
            paths += [self._config.command_journal_of(each) for each in owners]
            readers = [JournalReader(path, names) for path in paths]
            for entry in in_order_of_time([reader.entries() for reader in readers]):
                branches.apply(entry)
            branches.add_token(token)
        journal = self._open(self._config.command_journal_of(orchestrator))
        extension_limits = ExtensionLimits(self._minter.crew)
        try:
            journal.repair()
            yield IssuedBranchStore(journal, orchestrator, time.time, extension_limits, branches)
        finally:
            journal.close()

    def _open(self, path: Path) -> MintJournal:
        state = self._config.state
        try:
            with _as_owner_of(next(each for each in (state, *state.parents) if each.exists())):
                make_folder(state, 0o710, parents=True)
                make_folder(self._config.journal_folder, 0o700)
                return MintJournal(path, wait_seconds=limits.command_journal_seconds_max)
        except OSError as error:
            raise JournalError(f"{describe(error)}. {_NOTHING}") from error
        except JournalLockedError as error:
            raise JournalLockedError(
                f"{path}: another `crewgate` command writes this journal; try again"
            ) from error
        except JournalError as error:
            raise JournalError(f"{error}. {_NOTHING}") from error


class PartialBranchTree(BranchTree):
    """The branches that the journals of this machine know; a token may come from elsewhere."""

    def add_token(self, claims: Claims) -> None:
        """Add the branch of a verified token, or its newer grant.

        Raises:
            BranchRevokedError: A journal says that the branch, or one above it, was revoked.
        """
        for name in (*(each.id for each in claims.branch_path), claims.execution_branch_id):
            if self.is_revoked(name):
                raise BranchRevokedError(
                    f"branch {name} was revoked by its orchestrator: neither it nor a branch below "
                    "it gets a token"
                )
        known = self._branches.setdefault(claims.execution_branch_id, IssuedBranch(claims))
        if claims.iat > known.claims.iat:
            known.claims = claims

    def check_extension(
        self, claims: Claims, spent: Mapping[str, int], now: float, *, overcommit: bool
    ) -> None:
        """See `BranchTree`; the parent must be known only if the branch gets more."""
        before = self.living(claims.execution_branch_id).claims
        is_more = claims.credit_quota > before.credit_quota or not scope.within(
            claims.allowed_tools, before.allowed_tools
        )
        if is_more or not claims.branch_path or self.knows(claims.branch_path[-1].id):
            super().check_extension(claims, spent, now, overcommit=overcommit)


@contextmanager
def _as_owner_of(folder: Path) -> Iterator[None]:
    """Let root act as the owner of a folder, so that the files in it stay the owner's."""
    owner = folder.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
