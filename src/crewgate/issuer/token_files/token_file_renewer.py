"""A thread that keeps token files fresh until their orchestrator is closed.

The thread decides only when to look. Its callables decide which tokens are due and renew them.
"""

import logging
import threading
from collections.abc import Callable

from crewgate import limits
from crewgate.errors import CrewgateError

_log = logging.getLogger(__name__)


class TokenFileRenewer:
    """A thread that renews the tokens of branches that have a file, before they expire.

    `with_file` returns the ids of these branches. `renew` renews the token and the file of one
    branch if they are due, and returns the seconds until they are due again.
    """

    def __init__(self, with_file: Callable[[], list[str]], renew: Callable[[str], float]) -> None:
        self._with_file = with_file
        self._renew = renew
        self._woken = threading.Event()
        self._ended = False
        # A daemon thread does not keep the process alive if the orchestrator was never closed.
        self._thread = threading.Thread(target=self._run, name="crewgate-token-files", daemon=True)

    def start(self) -> None:
        """Start the thread. Call this once."""
        self._thread.start()

    def wake(self) -> None:
        """Look now, because a branch has got a file."""
        self._woken.set()

    def close(self) -> None:
        """End the thread, and wait for a renewal that is in progress."""
        self._ended = True
        self._woken.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def renew_due(self) -> float:
        """Renew the tokens that are due now, and return the seconds until the next look."""
        wait = limits.token_file_look_seconds_max
        for branch in self._with_file():
            try:
                due = self._renew(branch)
            except CrewgateError as error:
                _log.warning("the token file of branch %s was not renewed: %s", branch, error)
                due = 0.0
            except Exception:  # noqa: BLE001 - the other files still need this thread
                _log.exception("the token file of branch %s was not renewed", branch)
                due = 0.0
            wait = min(wait, max(due, limits.token_file_retry_seconds))
        return wait

    def _run(self) -> None:
        while not self._ended:
            self._woken.wait(self.renew_due())
            self._woken.clear()
