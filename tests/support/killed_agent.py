"""Kills an agent that draws from a ledger into a table, again and again, and compares the two.

`killed_agent.py FOLDER TIMES`: forks a child that draws and gives back as an agent does, kills it
at any moment, takes up what it left and prints what was found as JSON.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from grant_builders import POLICY, grant

from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.core.credits import MICRO
from crewgate.core.tokens.grant import Grant
from crewgate.leases.lease_client import LeaseClient
from crewgate.ledger import schema
from crewgate.ledger.consistency import findings
from crewgate.ledger.sql import SQLLedger
from crewgate.ledger.sqlite_session import SQLiteSession

NOW = 1_800_000_000.0
HOLDER = "one"
ROOT = (100, 10**6 * MICRO, int(NOW))
GEOMETRY = TableCapacities(1024, 64, 256, 4)
GRANTS: list[Grant] = [grant(n, 10**6 * MICRO, ROOT) for n in range(6)]
NEW = 900  # branches that are opened now and then, once each
ROUNDS = 12


def boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Life:
    """One life of an agent on the table and the ledger in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.table = OwnedTable.open(str(folder / "table"))
        self.session = SQLiteSession(folder / "ledger.db")
        self.ledger = SQLLedger(self.session)
        self.lessor = LeaseClient(self.table, self.ledger, POLICY, HOLDER)
        self.lessor.rebuild(NOW, boot_ns())

    def work(self, chance: random.Random, says: int) -> None:
        """Until killed; each round of work is said with a byte."""
        while True:
            os.write(says, b".")
            of = chance.choice(GRANTS)
            if chance.random() < 0.3:
                of = grant(1000 + chance.randrange(NEW), 10**6 * MICRO, ROOT)
            self.lessor.draw(of, chance.choice((1, 500, 5000)), NOW, boot_ns())
            if chance.random() < 0.2:
                self.lessor.give_back_idle(NOW, boot_ns())
            if chance.random() < 0.5:
                self.lessor.surrender(of.branch_key, boot_ns())

    def differences(self) -> list[str]:
        """Between what the table was granted and what the ledger knows to have granted."""
        told = self.ledger.leases(HOLDER, self.table.life)
        found = list(findings(self.session))
        for record in self.table.scan(0, GEOMETRY.branches):
            if not record.parents:
                continue
            lease = told.pop(record.key, None)
            known = (0, 0) if lease is None else (lease.granted, lease.given_back)
            if record.pending or (record.granted, record.given_back) != known:
                found.append(f"{record} and {lease}")
            if record.burned:
                found.append(f"burned: {record}")
        # What was drawn for a branch that never got its record has been given back.
        return found + [f"no record, and {each}" for each in told.values() if each.idle]

    def granted(self) -> int:
        return sum(each.granted for each in self.ledger.leases(HOLDER, self.table.life).values())

    def close(self) -> None:
        self.table.close()
        self.session.close()


def kill_once(folder: Path, chance: random.Random) -> None:
    """Kill an agent in its first few rounds, however slow disk and processor are.

    The moment within a round is a part of what the round before it took.
    """
    reading, writing = os.pipe()
    seed = chance.random()
    child = os.fork()
    if child == 0:
        Life(folder).work(random.Random(seed), writing)
    os.close(writing)
    round_seconds = 0.0
    for _ in range(chance.randrange(1, ROUNDS)):
        begun = time.monotonic()
        assert os.read(reading, 1), "it ended by itself"
        round_seconds = time.monotonic() - begun
    time.sleep(round_seconds * chance.random())
    os.kill(child, signal.SIGKILL)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), status


def main() -> None:
    folder, times = Path(sys.argv[1]), int(sys.argv[2])
    OwnedTable.create(str(folder / "table"), GEOMETRY).close()
    session = SQLiteSession(folder / "ledger.db")
    schema.migrate(session)
    session.close()
    chance, troubles, granted = random.Random(5), [], 0
    for number in range(times):
        kill_once(folder, chance)
        life = Life(folder)
        troubles += [f"{number}: {each}" for each in life.differences()]
        granted = life.granted()
        life.close()
    print(json.dumps({"troubles": troubles, "granted_micro": granted}))


if __name__ == "__main__":
    main()
