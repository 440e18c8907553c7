"""The token files of one orchestrator, and the thread that keeps them fresh."""

from collections.abc import Callable
from pathlib import Path

from crewgate.issuer.issued_branch_store import IssuedBranchStore
from crewgate.issuer.token_file_renewer import TokenFileRenewer


class TokenFiles:
    """Writes the newest token of a branch to a file, now and after each renewal.

    `token` returns the newest token of a branch, and renews it if that is due. The thread starts
    with the first file.
    """

    def __init__(self, state: IssuedBranchStore, token: Callable[[str], str]) -> None:
        self._state, self._token = state, token
        self._renewer: TokenFileRenewer | None = None

    def add(self, branch: str, path: Path) -> None:
        """Keep the token of a branch in the file `path`.

        Raises:
            BranchRevokedError: The branch was revoked.
            IssuerError: The file cannot be written, or the branch was not minted here.
        """
        self._token(branch)
        tokens = self._state.tokens
        with self._state.lock:
            tokens.write_to(branch, path)
            if self._renewer is None:
                self._renewer = TokenFileRenewer(lambda: tokens.with_file, self.refresh_if_due)
                self._renewer.start()
            self._renewer.wake()

    def refresh_if_due(self, branch: str) -> float:
        """Renew the token and the file of a branch if they are due.

        Return the seconds until the next renewal.
        """
        self._token(branch)
        with self._state.lock:
            return self._state.tokens.write(branch, self._state.clock())

    def close(self) -> None:
        """End the thread; the files stay as they are."""
        with self._state.lock:
            renewer, self._renewer = self._renewer, None
        if renewer is not None:
            renewer.close()  # without the lock, which a renewal needs
