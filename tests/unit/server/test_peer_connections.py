"""The open connections that showed a certificate."""

from types import SimpleNamespace
from typing import Any

from crewgate.server.peer_connections import PeerConnections


def test_a_connection_that_comes_first_is_told_of() -> None:
    """Each time that there was none before it."""
    told: list[int] = []
    guests = PeerConnections(lambda: told.append(len(guests)))
    first, second, peer = object(), object(), SimpleNamespace(identity=None)
    given: Any = (first, second)
    for guest in given:
        guests.enter(b"key", guest, peer)  # type: ignore[arg-type]
    assert told == [0]
    for guest in given:
        guests.leave(guest)
    guests.enter(b"key", given[0], peer)  # type: ignore[arg-type]
    assert told == [0, 0]
