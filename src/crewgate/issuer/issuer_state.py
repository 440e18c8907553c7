"""Journal, branches and tokens of one orchestrator, changed together: a line, then what it says.

Decides the order that a crash or a full disk cannot undo: a grant is on disk before its token is
in anybody's hands; a death counts at once and is written as soon as the disk lets us. Not locked:
the orchestrator holds its lock around every call.
"""

from pathlib import Path

from crewgate.issuer.branches import BranchTree
from crewgate.issuer.issued_token_store import IssuedTokenStore
from crewgate.issuer.journal import BranchRevoked, ExtensionRecord, MintJournal, MintRecord
from crewgate.issuer.mint import MintedToken


class IssuerState:
    """What an orchestrator knows, rebuilt from its journal.

    Without a `path` the gateway keeps the journal, and nothing outlives this process.

    Raises:
        JournalError: As `MintJournal`.
    """

    def __init__(self, path: Path | None) -> None:
        self.tokens = IssuedTokenStore()
        self.branches = BranchTree()
        self._unwritten: dict[str, BranchRevoked] = {}
        self._journal = None if path is None else MintJournal(path)
        if self._journal is None:
            return
        try:
            for entry in self._journal.entries():
                self.branches.apply(entry)
        except BaseException:
            self._journal.close()
            raise

    def close(self) -> None:
        """Let the journal go."""
        if self._journal is not None:
            self._journal.close()

    def forget_ended(self, now: float) -> None:
        """Make room for one more branch; forget ended ones, with their tokens, if there is none.

        Raises:
            IssuerError: As many branches as an orchestrator may have are live.
        """
        try:
            self.branches.forget_ended(now)
        finally:
            if len(self.tokens) > len(self.branches):
                self.tokens.drop_unknown(self.branches.knows)

    def grant(self, entry: MintRecord | ExtensionRecord, minted: MintedToken) -> None:
        """Give a branch a first or a further grant.

        Raises:
            JournalError: The journal cannot be written, and the branch has no such grant.
        """
        if self._journal is not None:
            self._journal.append(entry)
        self.branches.apply(entry)
        self.tokens.put(minted)

    def end(self, entry: BranchRevoked) -> None:
        """Count a branch and all below it as revoked, whatever the disk says.

        Raises:
            JournalError: That cannot be written; calling again tries again.
        """
        if not self.branches.is_dead(entry.branch):
            self._unwritten[entry.branch] = entry
            for branch in self.branches.apply(entry):
                self.tokens.drop(branch)
        for branch, unwritten in [*self._unwritten.items()]:
            if self._journal is not None:
                self._journal.append(unwritten)
            del self._unwritten[branch]
