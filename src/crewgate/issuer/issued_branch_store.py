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
from crewgate.issuer.branch_token_store import BranchTokenStore, renewal
from crewgate.issuer.branch_tree import BranchTree
from crewgate.issuer.journal import BranchRevoked, ExtensionRecord, MintJournal, MintRecord
from crewgate.issuer.mint import MintedToken
from crewgate.issuer.parameters import branch_id
from crewgate.runtime.cleanup import on_error

_log = logging.getLogger(__name__)


class IssuedBranchStore:
    """The state of the orchestrator `name`, rebuilt from its journal.

    If `path` is None, a gateway keeps the journal, and the state ends with this process. `clock`
    returns wall-clock seconds since the epoch.

    Raises:
        JournalError: As for `MintJournal`.
    """

    def __init__(self, path: Path | None, name: str, clock: Callable[[], float]) -> None:
        self.name, self.clock = name, clock
        self.lock = threading.RLock()
        self.tokens = BranchTokenStore()
        self.branches = BranchTree()
        self._unwritten: dict[str, BranchRevoked] = {}
        self._journal = None if path is None else MintJournal(path)
        if self._journal is None:
            return
        with on_error(self._journal.close):
            for entry in self._journal.entries():
                self.branches.apply(entry)

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()

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
        """Return the newest token of a branch; None if it is due for renewal.

        Raises:
            BranchRevokedError: The branch was revoked.
            IssuerError: The branch was not minted here.
        """
        claims, minted = self.branches.living(branch).claims, self.tokens.get(branch)
        return minted.token if minted and self.clock() < renewal(claims) else None

    def last_token(self, branch: str, error: CrewgateError) -> str:
        """Return the token that could not be renewed, or raise `error` if it has expired.

        Raises:
            BranchRevokedError: The branch was revoked.
        """
        self.branches.living(branch)
        minted = self.tokens.get(branch)
        if minted is None or self.clock() >= minted.claims.exp:
            raise error
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
