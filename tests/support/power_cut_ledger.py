"""Writes to a ledger in a file, and cuts its power at a write: `power_cut_ledger.py AT SEED`.

A file keeps what was synced; of what was written since, any part may be there: each write, a part
of it that ends at a sector, or nothing, in any order. Whatever is left must be the ledger as it was
after the last batch that was answered, or the next. Prints what was found as JSON.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

import apsw
from account_family import NOW
from killed_ledger import STORY, books
from search_depth import deep

from crewgate.core.budget.ledger_protocol import OpenBranches
from crewgate.ledger import schema
from crewgate.ledger.consistency import findings
from crewgate.ledger.sql import SQLLedger
from crewgate.ledger.sqlite_session import SQLiteSession

SECTOR = 512
FILES = ("ledger.db", "ledger.db-wal")
Step = tuple[str, str, int, bytes]  # what was done, to which file, where (or how long), with what


class Watched(apsw.VFSFile):
    """A file that writes down what is done to it."""

    def __init__(self, name: Any, flags: list[int], steps: list[Step]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self.file = Path(path).name
        self.steps = steps
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        super().xWrite(data, offset)
        self.steps.append(("write", self.file, offset, bytes(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        super().xTruncate(size)
        self.steps.append(("truncate", self.file, size, b""))

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self.steps.append(("sync", self.file, 0, b""))


class Watching(apsw.VFS):
    """The file system's, and a list of what was done."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        super().__init__("watching", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> Watched:  # noqa: N802
        return Watched(name, flags, self.steps)


def written(content: bytearray, step: Step, length: int) -> None:
    """Do a step to a file's content, or the first `length` bytes of it."""
    kind, _, at, data = step
    if kind == "truncate":
        del content[at:]
        return
    content.extend(bytes(max(0, at + length - len(content))))
    content[at : at + length] = data[:length]


def left(steps: list[Step], chance: random.Random) -> dict[str, bytearray]:
    """What the files may hold after these steps and a loss of power."""
    found = {name: bytearray() for name in FILES}
    for name, content in found.items():
        own = [step for step in steps if step[1] == name]
        synced = max((n for n, step in enumerate(own) if step[0] == "sync"), default=-1)
        for step in own[: synced + 1]:
            if step[0] != "sync":
                written(content, step, len(step[3]))
        loose = own[synced + 1 :]
        if chance.random() < 0.5:
            chance.shuffle(loose)
        for step in loose:
            if chance.random() < 0.5:
                whole = len(step[3])
                torn = chance.random() < 0.5
                part = chance.randrange(0, whole + SECTOR, SECTOR) if torn else whole
                written(content, step, min(part, whole))
    return found


def survives(folder: Path, files: dict[str, bytearray], possible: list[list[str]]) -> list[str]:
    """What is wrong with the ledger that is left: it stands as it stood after some batch."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "ledger.db-shm").unlink(missing_ok=True)
    session = SQLiteSession(folder / FILES[0])
    try:
        found = list(findings(session))
        stands = books(SQLLedger(session))
        return found if stands in possible else [*found, f"it stands like this: {stands}"]
    finally:
        session.close()


def main(folder: Path, seed: int) -> None:
    for name in ("told", "left"):
        (folder / name).mkdir()
    watching = Watching()
    session = SQLiteSession(folder / "told" / FILES[0])
    schema.migrate(session)
    ledger = SQLLedger(session)
    ends, states, durable = [len(watching.steps)], [books(ledger)], [0]
    for number, batch in enumerate(STORY, 1):
        ledger.do_all(batch, NOW)
        ends.append(len(watching.steps))
        states.append(books(ledger))
        # What is only opened grants nothing, and is opened again by whoever draws.
        is_durable = not all(isinstance(each, OpenBranches) and not each.need for each in batch)
        durable.append(number if is_durable else durable[-1])
    steps = list(watching.steps)
    session.close()
    watching.unregister()
    chance, troubles, lost = random.Random(seed), [], 0
    for place in range(ends[0], len(steps) + 1):
        done = sum(end <= place for end in ends) - 1
        possible = states[durable[done] : done + 2]  # the batch under way may be there already
        for _ in range(deep(1)):
            files = left(steps[:place], chance)
            troubles += [f"{place}: {each}" for each in survives(folder / "left", files, possible)]
            lost += 1
    print(json.dumps({"losses": lost, "troubles": troubles[:20]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
