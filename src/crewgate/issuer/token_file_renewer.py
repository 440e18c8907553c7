"""A thread that keeps token files fresh while their orchestrator lives.

Decides only when to look; what is due, and whether it may be renewed, is asked of the callables.
"""

import logging
import threading
from collections.abc import Callable

from crewgate import limits
from crewgate.errors import CrewgateError

_log = logging.getLogger(__name__)


class TokenFileRenewer:
    """Renews what is due, again and again.

    `with_file` names the branches that have a file; `renew` brings one up to date, file and all,
    and returns the seconds until it is due again.
    """

    def __init__(self, with_file: Callable[[], list[str]], renew: Callable[[str], float]) -> None:
        self._with_file = with_file
        self._renew = renew
        self._woken = threading.Event()
        self._ended = False
        # A daemon: an orchestrator that was never closed must not keep its process from ending.
        self._thread = threading.Thread(target=self._run, name="crewgate-token-files", daemon=True)

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def wake(self) -> None:
        """Something new is to be kept: look now."""
        self._woken.set()

    def close(self) -> None:
        """End, and wait for a renewal that is under way."""
        self._ended = True
        self._woken.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def renew_due(self) -> float:
        """Renew what is due now; seconds until the next look."""
        wait = limits.token_file_look_seconds_max
        for branch in self._with_file():
            try:
                due = self._renew(branch)
            except CrewgateError as error:
                _log.warning("the token file of branch %s was not renewed: %s", branch, error)
                due = 0.0
            except Exception:  # noqa: BLE001 - a caller's callable; all other files need us
                _log.exception("the token file of branch %s was not renewed", branch)
                due = 0.0
            wait = min(wait, max(due, limits.token_file_retry_seconds))
        return wait

    def _run(self) -> None:
        while not self._ended:
            self._woken.wait(self.renew_due())
            self._woken.clear()
