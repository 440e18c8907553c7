"""Kills a worker before every store that its straight calls make to the table.

Run with the fault-injection build (CREWGATE_FAULTS=1) first on the path, and a folder. In each
round a child serves calls until the kill: some end as usual, one is revoked, one is in flight when
the worker shuts down. The parent then does what the agent does for a worker that was killed, and
holds the table against the audit and against what the tool has seen. Prints the number of stores.
"""

import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import trio
from crew_world import BRANCH, CREW
from gate_world import GEOMETRY
from gated_gateway import GatedGateway, gated_gateway
from two_ways import OK, Way

from crewgate._native import permit
from crewgate._native.metrics import CallBatch
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.core.audit.json_line import decode
from crewgate.core.audit.records import CallRecord

PRICE = 10_000
CALLS = 4
CREDIT = 20 * PRICE
KEY = ids.branch_key(CREW, BRANCH)
ID = re.compile(rb"x-crewgate-request: (\S+)")


class Seen(list[bytes]):
    """The requests that the tool has seen; their ids are in a file, which outlives the worker."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def append(self, request: bytes) -> None:
        """Note a request."""
        super().append(request)
        self._file.write(ID.findall(request)[0] + b"\n")


def _asks(way: Way, method: bytes, path: bytes) -> list[tuple[bytes, bytes]]:
    bearer = b"Bearer " + way.token
    pseudo = [(b":method", method), (b":scheme", b"https"), (b":path", path)]
    return [*pseudo, (b":authority", b"gateway.example"), (b"authorization", bearer)]


def _write_to(site: GatedGateway, path: Path) -> None:
    """Have the audit of a gateway in a file."""
    file, count = path.open("ab", buffering=0), site.world.sink.write_lines

    def write(lines: Sequence[bytes], calls: CallBatch | None = None) -> None:
        file.write(b"".join(lines))
        count(lines, calls)

    site.world.sink.write_lines = write  # type: ignore[method-assign]


async def _in_flight(way: Way) -> None:
    """Have one more call wait for the tool."""
    asked = len(way.site.asked)
    while len(way.site.asked) == asked:
        await trio.lowlevel.checkpoint()


async def _live(folder: Path, stores: int) -> None:
    """Carry the calls, with a SIGKILL before so many stores."""
    table = OwnedTable.create(str(folder / "table"), GEOMETRY)
    table.extend_freshness(2**62, 2**62)
    async with gated_gateway(
        folder, lambda config: config, ("*",), straight=True, table=table
    ) as site:
        site.stays, site.answer, site.asked = True, (OK,), Seen(folder / "seen")
        _write_to(site, folder / "lines")
        way = Way(site)
        first = site.house.permit(way.token)
        site.house.draw(first.grant, CREDIT)
        first.release()
        get = _asks(way, b"GET", b"/summary")
        await way.ask(get)  # opens the connections
        if not permit.arm_fault(stores):
            raise SystemExit("this is not the build that can be killed between two stores")
        await way.ask(get)
        for end in (lambda: site.world.live.terminate([KEY]), site.world.live.end_all):
            site.hold = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(way.ask, get)
                await _in_flight(way)
                end()
                site.hold.set()
        site.world.gateway._services.settlements.flush()
        permit.arm_fault(0)
        assert site.world.gateway.straight.done == CALLS - 2
        assert site.world.gateway.straight.given_up == 2


def _check(folder: Path, *, is_whole: bool) -> None:
    """Each call that was recorded, or seen by the tool, is charged once; no other is."""
    table = OwnedTable.open(str(folder / "table"))
    table.drop_attachment(0)
    branch = table.branch(table.find(KEY))
    assert branch is not None
    records = [decode(line) for line in (folder / "lines").read_bytes().splitlines()]
    calls = [each for each in records if isinstance(each, CallRecord)]
    recorded = sum(each.cost_micro for each in calls)
    seen = Counter((folder / "seen").read_bytes().split())
    found = branch, calls, seen
    assert branch.reserved == 0, found
    assert branch.available + branch.settled + branch.burned == branch.granted, found
    assert max(Counter(each.request for each in calls).values()) == 1, found
    assert max(seen.values()) == 1, found
    assert branch.settled <= recorded <= CALLS * PRICE, found
    charged = branch.settled + branch.burned
    assert PRICE * len(seen) <= charged <= PRICE * (len(seen) + 1), found
    assert recorded <= charged, found
    if is_whole:
        assert (branch.settled, branch.burned) == (CALLS * PRICE, 0), found
    table.close()


def main(folder: Path) -> int:
    """Kill at every store in turn; return how many there were."""
    stores = 0
    while True:
        stores += 1
        place = folder / str(stores)
        place.mkdir()
        child = os.fork()
        if child == 0:
            try:
                trio.run(_live, place, stores)
            except BaseException as error:  # noqa: BLE001 - the child must not return
                os.write(2, f"{error!r}\n".encode())
                os._exit(3)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in {0, -signal.SIGKILL}, f"the child ended with {status} at store {stores}"
        _check(place, is_whole=status == 0)
        if status == 0:
            return stores - 1


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
