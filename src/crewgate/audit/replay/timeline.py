"""The steps of a run, and what each step changed in the branches of the run.

Each line of the audit is one step, at its moment: a call counts when it has ended. Calls that go on
count as open from their beginning, as far as a later line shows it.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from heapq import heappop, heappush

import msgspec

from crewgate.audit.replay.branch_replay import BranchReplay, BranchSnapshot
from crewgate.audit.replay.run_record import RunRecord
from crewgate.audit.replay.run_replay import ReplayedLine
from crewgate.audit.replay.step_text import describe, mark
from crewgate.core.terminal_text import printable

_REVOCATION = "revocation"


class ReplayedBranch(msgspec.Struct, frozen=True):
    """A branch of the run, as its newest recorded grant names it; `parent` is empty for the top."""

    branch: str
    parent: str
    role: str
    orchestrator: str
    process: str
    subject: str


class ReplayStep(msgspec.Struct, frozen=True):
    """One step: a line of machine number `machine`, and the branches that it changed.

    `moment_us` is in microseconds since 1970. `place` is the index of the line in its extract.
    `branch` is the number of a branch, or -1. `words` are `printable`. `changes` has numbers of
    branches, and what they are after the step.
    """

    moment_us: int
    machine: int
    place: int
    mark: str
    branch: int
    words: str
    changes: list[tuple[int, BranchSnapshot]]


class Timeline(msgspec.Struct, frozen=True):
    """The branches in the order in which they were first named, and the steps."""

    branches: list[ReplayedBranch]
    steps: list[ReplayStep]


def timeline(lines: Sequence[ReplayedLine], run: str) -> Timeline:
    """Replay sorted lines. `run` is the branch that was asked for: those above it are left out."""
    replay = _Replay(run, _ended(lines))
    begins = sorted(_begins(lines), key=lambda each: each[0])
    steps, next_begin = [], 0
    for line in lines:
        while next_begin < len(begins) and begins[next_begin][0] <= line.moment_us:
            replay.begin(begins[next_begin][1])
            next_begin += 1
        steps.append(replay.step(line))
    branches = [
        ReplayedBranch(
            each.path[-1], "" if each.path[-1] == run else each.path[-2],
            each.role, each.orchestrator, each.process, each.subject,
        )
        for each in replay.branches
    ]  # fmt: skip
    return Timeline(branches, steps)


def _begins(lines: Sequence[ReplayedLine]) -> Iterator[tuple[int, RunRecord]]:
    """Yield when calls began whose end a line shows."""
    for line in lines:
        if _ends_call(line.record):
            yield min(line.record.begin_us, line.moment_us), line.record


def _ended(lines: Sequence[ReplayedLine]) -> set[tuple[int, str]]:
    """Return the requests, by machine, whose end a line shows."""
    return {
        (line.machine, line.record.request)
        for line in lines
        if line.record.kind in {"call", "burned"}
    }


def _ends_call(record: RunRecord) -> bool:
    return record.kind == "burned" or (record.kind == "call" and record.verdict == "permit")


class _Replay:
    """A run while it is replayed; `branches` are in the order in which they were first named.

    `ended` has the requests, by machine, whose beginning is noted with `begin`.
    """

    def __init__(self, run: str, ended: set[tuple[int, str]]) -> None:
        self._ended = ended
        self.branches: list[BranchReplay] = []
        self._run = run
        self._numbers: dict[str, int] = {}
        self._shown: list[BranchSnapshot | None] = []
        self._revoked: dict[tuple[str, str], int] = {}
        # By target, the branches that its revocation hits; and some that it hit under other names.
        self._hit: dict[tuple[str, str], set[int]] = {}
        self._dirty: set[int] = set()
        self._expiries: list[tuple[int, int]] = []

    def begin(self, record: RunRecord) -> None:
        """Note that a call begins."""
        number = self._number(record)
        if number >= 0:
            self.branches[number].snapshot.open += 1
            self._dirty.add(number)

    def step(self, line: ReplayedLine) -> ReplayStep:
        """Apply a line, and return what it changed."""
        record, now = line.record, line.moment_us
        number = self._number(record)
        if record.kind == _REVOCATION:
            kind = "branch" if record.target == "account" else record.target
            self._revoked[kind, record.id] = now
            self._dirty |= self._hit.get((kind, record.id), set())
        elif number >= 0:
            branch = self.branches[number]
            branch.snapshot.open -= _ends_call(record)
            is_stream = record.kind == "open" and (line.machine, record.request) not in self._ended
            branch.snapshot.open += is_stream
            branch.note(record)
            self._take_targets(number)
            self._dirty.add(number)
            if record.kind == "grant":
                heappush(self._expiries, (branch.expires_us, number))
        while self._expiries and self._expiries[0][0] <= now:
            self._dirty.add(heappop(self._expiries)[1])
        changes = self._changes(now)
        return ReplayStep(
            now,
            line.machine,
            line.place,
            mark(record),
            number,
            printable(describe(record)),
            changes,
        )

    def _changes(self, now: int) -> list[tuple[int, BranchSnapshot]]:
        found = []
        for number in sorted(self._dirty):
            branch = self.branches[number]
            branch.snapshot.state = branch.state(self._revoked, now)
            if branch.snapshot != self._shown[number]:
                shown = copy(branch.snapshot)
                self._shown[number] = shown
                found.append((number, shown))
        self._dirty.clear()
        return found

    def _take_targets(self, number: int) -> None:
        for target in self.branches[number].targets:
            self._hit.setdefault(target, set()).add(number)

    def _number(self, record: RunRecord) -> int:
        """Return the number of the branch of a record; -1 if it is of none below the run."""
        path = record.path
        if self._run not in path:
            return -1
        for end in range(path.index(self._run) + 1, len(path) + 1):
            branch = path[end - 1]
            if branch not in self._numbers:
                self._numbers[branch] = len(self.branches)
                self._dirty.add(len(self.branches))
                self.branches.append(BranchReplay(record.crew, path[:end]))
                self._take_targets(len(self.branches) - 1)
                self._shown.append(None)
        return self._numbers[path[-1]]
