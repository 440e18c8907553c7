"""When a worker scans the table for revocations: at once, seldom in a storm, never for nothing."""

from collections.abc import Callable

import pytest
import trio

from crewgate import limits
from crewgate._datapath.revocation_watch import RevocationWatch
from crewgate._datapath.socket_poller import SocketPoller
from crewgate._datapath.trio_host import TurnClock
from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.errors import TableError
from crewgate.server.auto_reset_event import AutoResetEvent

CREW = ids.crew_key("article")


class Watched:
    """A poller whose turns find no socket, and the number of scans in them."""

    def __init__(self) -> None:
        self.table = OwnedTable.private(TableCapacities(64, 256, 128, 4))
        self.scans = 0
        self.is_needed = True
        self.on_scan: Callable[[], None] = lambda: None
        self.poller = SocketPoller()
        self.watch = RevocationWatch(lambda: self.is_needed, self._scan)
        self.poller.check_each_turn(self.watch)
        self.watch.use(self.table)

    def _scan(self) -> None:
        self.scans += 1
        self.on_scan()

    def revoke(self, name: str) -> None:
        self.table.revoke(ids.crew_key(name), CREW, 2**60, 60, 1_000_000, 10**15)

    def scans_in_a_turn(self) -> int:
        before = self.scans
        self.poller.take_turn()
        return self.scans - before


def test_a_revocation_is_found_in_the_next_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first turn scans, and then each turn that finds another generation or a retired table."""
    monkeypatch.setattr(limits, "revocation_look_seconds", 0.0)
    watched = Watched()
    watched.watch.start()
    assert [watched.scans_in_a_turn() for _ in range(3)] == [1, 0, 0]
    watched.revoke("one")
    assert [watched.scans_in_a_turn() for _ in range(2)] == [1, 0]
    watched.table.retire()
    assert [watched.scans_in_a_turn() for _ in range(2)] == [1, 1]


@pytest.fixture(params=[True, False], ids=["around", "inside"])
def clock(request: pytest.FixtureRequest) -> TurnClock | None:
    """The clock of the test's Trio run: the turns run around Trio, or inside it."""
    return TurnClock() if request.param else None


async def test_a_revocation_is_found_though_no_socket_is_ready(clock: TurnClock | None) -> None:
    """While there is something to end, turns begin by themselves."""
    watched, found = Watched(), AutoResetEvent()
    watched.on_scan = found.set
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.poller.run)
        watched.watch.start()
        with trio.fail_after(20):
            await found.wait()
            watched.revoke("one")
            await found.wait()
        nursery.cancel_scope.cancel()
    watched.poller.close()


def test_a_storm_of_revocations_has_few_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two scans are apart; the revocations between them wait for the second."""
    monkeypatch.setattr(limits, "revocation_look_seconds", 60.0)
    watched = Watched()
    watched.watch.start()
    found = []
    for name in ("one", "two", "three"):
        watched.revoke(name)
        found.append(watched.scans_in_a_turn())
    assert found == [1, 0, 0]


def test_the_watch_rests_while_there_is_nothing_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A revocation of that time is found in the first turn after `start`."""
    monkeypatch.setattr(limits, "revocation_look_seconds", 0.0)
    watched = Watched()
    assert not watched.scans_in_a_turn()
    watched.watch.start()
    watched.is_needed = False
    assert watched.scans_in_a_turn()  # then it rests
    watched.revoke("one")
    assert not watched.scans_in_a_turn()
    watched.watch.start()
    assert watched.scans_in_a_turn()


def test_a_closed_table_is_an_error() -> None:
    """The poller does not go on without the check: the worker ends and starts again."""
    watched = Watched()
    watched.watch.start()
    watched.table.close()
    with pytest.raises(TableError):
        watched.poller.take_turn()
