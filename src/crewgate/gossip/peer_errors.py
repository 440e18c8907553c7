"""Keeps why configured peers cannot be reached, and logs each reason once."""

import os
from collections.abc import Callable, Iterable

from crewgate.gossip.sockets import Where, format_address


class PeerErrors:
    """The last error with each configured peer of this machine."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._reasons: dict[Where, str] = {}

    def note(self, peer: Where, why: str) -> None:
        """Keep why a peer cannot be reached (empty if it can), and log a reason that is new."""
        if why and why != self._reasons.get(peer):
            self._log(f"peer {format_address(peer)}: {why}")
        self._reasons[peer] = why

    def of(self, peers: Iterable[Where]) -> list[str]:
        """Return those of `peers` that cannot be reached, each with the reason."""
        return [
            f"{format_address(peer)} ({why})" for peer in peers if (why := self._reasons.get(peer))
        ]


def reason(error: Exception) -> str:
    """Return why a stream failed, without the address."""
    # trio's group has one error for each address that it tried.
    cause = error.__cause__
    errors = cause.exceptions if isinstance(cause, ExceptionGroup) else ()
    numbers = (each.errno for each in errors if isinstance(each, OSError))
    return next((os.strerror(number) for number in numbers if number), str(error))
