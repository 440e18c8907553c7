"""The codes of the links that `crewgate ui` prints: each good once, for some minutes."""

import secrets
import time
from collections.abc import Callable

from crewgate import limits
from crewgate.ui.login.session import digest_of

_CODE_BYTES = 32


class OneTimeCodes:
    """The codes that are good now, as digests; `clock` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: dict[str, float] = {}

    def new(self) -> str:
        """Return a new code, which is a secret of 256 bits."""
        code = secrets.token_urlsafe(_CODE_BYTES)
        if len(self._ends) >= limits.ui_codes_max:
            del self._ends[next(iter(self._ends))]
        self._ends[digest_of(code)] = self._clock() + limits.ui_code_seconds
        return code

    def is_good(self, code: str) -> bool:
        """Return whether a code is good."""
        return self._clock() < self._ends.get(digest_of(code), 0.0)

    def take(self, code: str) -> bool:
        """Return whether a code is good; from then on it is not."""
        return self._clock() < self._ends.pop(digest_of(code), 0.0)
