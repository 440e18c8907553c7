"""The journal, branches and tokens of one orchestrator, which change together.

The order of the changes makes a crash or a full disk harmless. A grant is on disk before anybody
gets its token. A revocation takes effect at once, and its line follows as soon as the disk accepts
it. Only `mark_revoked` takes the lock: the caller holds it around every other call.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from crewgate.errors import CrewgateError
from crewgate.issuer.branches.branch_token_store import BranchTokenStore, renewal
from crewgate.issuer.branches.branch_tree import BranchTree
from crewgate.issuer.extensions.extension_limits import ExtensionLimits
from crewgate.issuer.journal.journal_entries import (
    BranchRevoked,
    ExtensionRecord,
    ExtensionRefused,
    MintRecord,
)
from crewgate.issuer.journal.journal_reader import JournalReader, in_order_of_time
from crewgate.issuer.journal.mint_journal import MintJournal
from crewgate.issuer.mint import MintedToken
from crewgate.issuer.parameters import branch_id
from crewgate.runtime.cleanup import on_error

_log = logging.getLogger(__name__)


class IssuedBranchStore:
    """The state of the orchestrator `name`, rebuilt from its journal.

    Args:
        journal: The journal; None if a gateway keeps it, and the state ends with this process.
        name: The name of the orchestrator, `<crew>/<name>`.
        clock: Returns wall-clock seconds since the epoch.
        extension_limits: What further grants a branch may have.
        branches: The branches that the journals have.
        commands: The journal in which commands write what they mint for this orchestrator.
    """

    def __init__(
        self,
        journal: MintJournal | None,
        name: str,
        clock: Callable[[], float],
        extension_limits: ExtensionLimits,
        branches: BranchTree,
        commands: JournalReader | None = None,
    ) -> None:
        self.name, self.clock, self.extension_limits = name, clock, extension_limits
        self.lock = threading.RLock()
        self.tokens = BranchTokenStore()
        self.branches = branches
        self._journal, self._commands = journal, commands
        self._unwritten: dict[str, BranchRevoked] = {}

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()

    def read_commands(self) -> None:
        """Take over what commands have minted for this orchestrator meanwhile."""
        for entry in () if self._commands is None else self._commands.entries():
            self.branches.apply(entry)

    def forget_ended(self, now: float) -> None:
        """Make room for one more branch: if there is none, forget ended branches and their tokens.

        Raises:
            IssuerError: The orchestrator has as many live branches as it may have.
        """
        try:
            self.branches.forget_ended(now)
        finally:
            if len(self.tokens) > len(self.branches):
                self.tokens.drop_unknown(self.branches.knows)

    def fresh_token(self, branch: str) -> str | None:
        """Return the newest token of a branch; None if it is due for renewal, and can have it.

        Raises:
            BranchRevokedError: The branch was revoked.
            IssuerError: The branch was not minted here.
        """
        known, minted, now = self.branches.living(branch), self.tokens.get(branch), self.clock()
        if minted is None or now >= minted.claims.exp:
            return None
        is_due = now >= renewal(minted.claims)
        return None if is_due and self.extension_limits.is_renewable(known) else minted.token

    def last_token(self, branch: str, error: CrewgateError, *, is_logged: bool = False) -> str:
        """Return the token that could not be renewed, or raise `error` if it has expired.

        Log `error`, unless it `is_logged` already.

        Raises:
            BranchRevokedError: The branch was revoked.
        """
        self.branches.living(branch)
        minted = self.tokens.get(branch)
        if minted is None or self.clock() >= minted.claims.exp:
            raise error
        if not is_logged:
            _log.warning(
                "branch %s: could not renew the token; the last one is used until it expires: %s",
                branch,
                error,
            )
        return minted.token

    def grant(self, entry: MintRecord | ExtensionRecord, minted: MintedToken) -> None:
        """Give a branch its first or a further grant.

        Raises:
            JournalError: The journal cannot be written; the branch did not get the grant.
        """
        if self._journal is not None:
            self._journal.append(entry)
        self.branches.apply(entry)
        self.tokens.put(minted)

    def refuse(self, entry: ExtensionRefused) -> None:
        """Record a refused request.

        Raises:
            JournalError: The journal cannot be written.
        """
        if self._journal is not None:
            self._journal.append(entry)
        self.branches.apply(entry)

    def mark_revoked(self, branch: str, *, reason: str) -> None:
        """Revoke a branch (UUID text) and all below it, even if the disk fails.

        Raises:
            JournalError: The journal cannot be written. Call again to try again.
            IssuerError: `branch` is not a UUID.
        """
        entry = BranchRevoked(self.clock(), branch_id(branch), self.name, reason)
        with self.lock:
            self._end(entry)

    def _end(self, entry: BranchRevoked) -> None:
        if not self.branches.is_revoked(entry.branch):
            self._unwritten[entry.branch] = entry
            for branch in self.branches.apply(entry):
                self.tokens.drop(branch)
        for branch, unwritten in [*self._unwritten.items()]:
            if self._journal is not None:
                self._journal.append(unwritten)
            del self._unwritten[branch]


def open_state(
    path: Path,
    name: str,
    clock: Callable[[], float],
    extension_limits: ExtensionLimits,
    commands: Path | None,
) -> IssuedBranchStore:
    """Open the journal `path` and return the state that it has; `commands` may be None.

    Raises:
        JournalError: As for `MintJournal`.
    """
    journal = MintJournal(path)
    reader = None if commands is None else JournalReader(commands)
    with on_error(journal.close):
        branches = BranchTree()
        sources = [journal.entries()] if reader is None else [journal.entries(), reader.entries()]
        for entry in in_order_of_time(sources):
            branches.apply(entry)
        return IssuedBranchStore(journal, name, clock, extension_limits, branches, reader)
