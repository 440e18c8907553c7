"""Logs each change of one fault once: when it begins, when its text changes, and when it ends."""

from collections.abc import Callable


class FaultTransitionLogger:
    """The fault that a part of the program has now; none at first.

    `log` gets a sentence at each change: what is wrong, or `recovered`.
    """

    def __init__(self, log: Callable[[str], None], *, recovered: str) -> None:
        self._log = log
        self._recovered = recovered
        self.why = ""

    def note(self, why: str) -> None:
        """Set what is wrong now; "" if nothing is. Use the same text as long as the fault lasts."""
        before, self.why = self.why, why
        if why != before:
            self._log(why or self._recovered)
