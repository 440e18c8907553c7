"""What is wrong with the peers of the configuration: said once, and kept for who asks."""

import os
from collections.abc import Callable, Iterable

from crewgate.gossip.sockets import Where, format_address


class PeerErrors:
    """Of one machine; `say` tells a person."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._said: dict[Where, str] = {}

    def __repr__(self) -> str:
        return f"<PeerErrors {self._said}>"

    def note(self, peer: Where, why: str) -> None:
        """Why nobody was found there, empty if somebody was; said if it is something else."""
        if why and why != self._said.get(peer):
            self._log(f"peer {format_address(peer)}: {why}")
        self._said[peer] = why

    def of(self, peers: Iterable[Where]) -> list[str]:
        """Those where nobody was found, each with why."""
        return [
            f"{format_address(peer)} ({why})" for peer in peers if (why := self._said.get(peer))
        ]


def reason(error: Exception) -> str:
    """Why a stream came to nothing, without where it was to lead."""
    cause = error.__cause__  # trio's, of all addresses that it tried
    errors = cause.exceptions if isinstance(cause, ExceptionGroup) else ()
    numbers = (each.errno for each in errors if isinstance(each, OSError))
    return next((os.strerror(number) for number in numbers if number), str(error))
