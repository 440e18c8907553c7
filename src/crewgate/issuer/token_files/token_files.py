"""The token files of one orchestrator, and the thread that keeps them fresh until their end."""

import logging
from collections.abc import Callable
from pathlib import Path

from crewgate import limits
from crewgate.errors import ExtensionRefusedError
from crewgate.issuer.branches.branch_issuer import BranchIssuer, GrantChange
from crewgate.issuer.branches.issued_branch_store import IssuedBranchStore
from crewgate.issuer.journal.journal_entries import ORCHESTRATOR, GrantWay
from crewgate.issuer.token_files.token_file_renewer import TokenFileRenewer

_log = logging.getLogger(__name__)


class TokenFiles:
    """Writes the newest token of a branch to a file, now and after each renewal until its end.

    `token` returns the newest token of a branch, and has `issuer` renew it if that is due. The
    thread starts with the first file.
    """

    def __init__(
        self,
        state: IssuedBranchStore,
        issuer: BranchIssuer,
        token: Callable[[str, GrantWay], str],
    ) -> None:
        self._state, self._issuer, self._token = state, issuer, token
        self._stopped: set[str] = set()
        self._renewer: TokenFileRenewer | None = None

    def add(self, branch: str, path: Path, seconds: int | None) -> None:
        """Keep the token of a branch in the file `path`, for `seconds` from now.

        None is `limits.token_file_seconds`.

        Raises:
            BranchRevokedError: The branch was revoked.
            IssuerError: The file cannot be written, or the branch was not minted here.
        """
        self._token(branch, GrantWay.TOKEN_FILE)
        state = self._state
        with state.lock:
            state.tokens.write_to(branch, path)
            kept = {*state.tokens.with_file}
            self._stopped &= kept
            state.tokens.file_ends[branch] = state.clock() + (seconds or limits.token_file_seconds)
            self._stopped.discard(branch)
            if self._renewer is None:
                self._renewer = TokenFileRenewer(
                    lambda: state.tokens.with_file, self.refresh_if_due
                )
                self._renewer.start()
            self._renewer.wake()

    def prolong(self, branch: str, seconds: int) -> None:
        """Renew the file of a branch for so many seconds longer, if it has a file."""
        with self._state.lock:
            ends = self._state.tokens.file_ends
            if branch in ends:
                ends[branch] = max(ends[branch], self._state.clock()) + seconds
                self._stopped.discard(branch)
                if self._renewer is not None:
                    self._renewer.wake()

    def refresh_if_due(self, branch: str) -> float:
        """Renew the token and the file of a branch if they are due.

        Return the seconds until the next renewal. At the end of the file, or of the branch, this
        renews nothing more, and the file keeps its last token.
        """
        state = self._state
        with state.lock:
            ends = state.tokens.file_ends.get(branch)
            is_over = ends is not None and state.clock() >= ends
        try:
            if is_over:
                return self._stop(branch, "the time for which it is renewed has ended")
            self._token(branch, GrantWay.TOKEN_FILE)
        except ExtensionRefusedError as error:
            return self._stop(branch, str(error), is_recorded=True)
        with state.lock:
            return state.tokens.write(branch, state.clock())

    def close(self) -> None:
        """End the thread; the files stay as they are."""
        with self._state.lock:
            renewer, self._renewer = self._renewer, None
        if renewer is not None:
            renewer.close()  # without the lock, which a renewal needs

    def _stop(self, branch: str, answer: str, *, is_recorded: bool = False) -> float:
        """Log and record once that a file is renewed no more; return when to look again."""
        with self._state.lock:
            is_known = branch in self._stopped
            self._stopped.add(branch)
        if not is_known:
            _log.warning("the token file of branch %s is renewed no more: %s", branch, answer)
            if not is_recorded:
                change = GrantChange(
                    reason="expires",
                    way=GrantWay.TOKEN_FILE,
                    decided_by=ORCHESTRATOR,
                    answer=answer,
                )
                self._issuer.refuse(branch, change)
        return limits.token_file_look_seconds_max
