"""What is wrong with the peers of the configuration: said once, and kept for who asks."""

import os
from collections.abc import Callable, Iterable

from crewgate.gossip.sockets import Where, shown


class Complaints:
    """Of one machine; `say` tells a person."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said: dict[Where, str] = {}

    def __repr__(self) -> str:
        return f"<Complaints {self._said}>"

    def note(self, peer: Where, why: str) -> None:
        """Why nobody was found there, empty if somebody was; said if it is something else."""
        if why and why != self._said.get(peer):
            self._say(f"peer {shown(peer)}: {why}")
        self._said[peer] = why

    def of(self, peers: Iterable[Where]) -> list[str]:
        """Those where nobody was found, each with why."""
        return [f"{shown(peer)} ({why})" for peer in peers if (why := self._said.get(peer))]


def reason(error: Exception) -> str:
    """Why a stream came to nothing, without where it was to lead."""
    cause = error.__cause__  # trio's, of all addresses that it tried
    errors = cause.exceptions if isinstance(cause, ExceptionGroup) else ()
    numbers = (each.errno for each in errors if isinstance(each, OSError))
    return next((os.strerror(number) for number in numbers if number), str(error))
