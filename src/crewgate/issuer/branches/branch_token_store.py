"""The newest token of each branch, and the files that hold it for child processes.

The store decides when a token is due for renewal and which files are outdated. Nothing here is
locked: the orchestrator holds its lock around every call.
"""

import logging
import math
from collections.abc import Callable
from pathlib import Path

from crewgate import limits
from crewgate.core.tokens.claims import Claims
from crewgate.errors import BranchRevokedError, IssuerError
from crewgate.issuer.mint import MintedToken
from crewgate.issuer.token_files.token_file import remove_token, write_token

_log = logging.getLogger(__name__)


class BranchTokenStore:
    """Tokens by branch id, in memory and, if the caller asks for it, in files of mode 0600.

    `on_put` gets the id of a branch and its newer token, `on_drop` the id of an ended branch.
    `file_ends` says by branch when its file gets no further token, in wall-clock seconds.
    """

    def __init__(self) -> None:
        self.on_put: Callable[[str, str], None] = lambda *_: None
        self.on_drop: Callable[[str], None] = lambda _: None
        self.file_ends: dict[str, float] = {}
        self._tokens: dict[str, MintedToken] = {}
        self._files: dict[str, Path] = {}
        self._stale_files: set[str] = set()

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def with_file(self) -> list[str]:
        """The ids of the branches whose token a file holds."""
        return [*self._files]

    def get(self, branch: str) -> MintedToken | None:
        """Return the newest token; None after a restart, or if the branch is revoked."""
        return self._tokens.get(branch)

    def put(self, minted: MintedToken) -> None:
        """Store a newer token. A file of the branch is outdated until `write` succeeds."""
        branch = minted.claims.execution_branch_id
        self._tokens[branch] = minted
        self.on_put(branch, minted.token)
        self._stale_files.add(branch)

    def write_to(self, branch: str, path: Path) -> None:
        """Write the newest token to the file `path`, now and after each renewal.

        Raises:
            BranchRevokedError: The branch was revoked, so it has no token.
            IssuerError: The file cannot be written.
        """
        minted = self._tokens.get(branch)
        if minted is None:
            raise BranchRevokedError(f"branch {branch} was revoked: it has no token for a file")
        write_token(path, minted.token)
        self._files[branch] = path
        self._stale_files.discard(branch)

    def write(self, branch: str, now: float) -> float:
        """Update the branch's file, if it has one; return the seconds until its token is due.

        Returns 0 if the branch is revoked, or if the file cannot be written, which is logged.
        """
        minted, path = self._tokens.get(branch), self._files.get(branch)
        if minted is None:
            return 0.0
        is_over = now >= self.file_ends.get(branch, math.inf)
        if path is not None and branch in self._stale_files and not is_over:
            try:
                write_token(path, minted.token)
            except IssuerError as error:
                _log.warning("branch %s: %s", branch, error)
                return 0.0
            self._stale_files.discard(branch)
        return renewal(minted.claims) - now

    def drop_unknown(self, knows: Callable[[str], bool]) -> None:
        """Drop the tokens of branches that `knows` does not know."""
        for branch in [each for each in self._tokens if not knows(each)]:
            self.drop(branch)

    def drop(self, branch: str) -> None:
        """Forget the token of a revoked branch, and delete its file."""
        self._tokens.pop(branch, None)
        self.on_drop(branch)
        self._stale_files.discard(branch)
        self.file_ends.pop(branch, None)
        path = self._files.pop(branch, None)
        if path is not None:
            remove_token(path)


def renewal(claims: Claims) -> float:
    """Return when a token is due for renewal (wall-clock seconds): well before it expires."""
    lifetime = claims.exp - claims.iat
    return claims.exp - min(lifetime / 3, limits.refresh_margin_seconds_max)
