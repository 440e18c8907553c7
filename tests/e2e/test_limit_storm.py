"""Real processes on one table count calls in the same limits, also if they are killed."""

import os
import random
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from crew_world import BRANCH, CREW, World
from limit_board import Board
from limit_worlds import DrainingDebt, places, rate, with_limits
from search_depth import deep

from crewgate._native.gate import Gate
from crewgate._native.limit_words import give_words
from crewgate._native.permit import Permit
from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.core.policy.call_limits import CallLimit, LimitScopes
from crewgate.core.verdict import Denial

SUPPORT = Path(__file__).parents[1] / "support"
BOOT = 10**15
PROCESSES = 4
TOOL = 2  # free.ping
MOST = 5
KILLS = deep(12)
LOOKS = 400  # at the calls under way, between two kills
LOOKS_MAX = 5_000_000  # before a place counts as lost


class Callers:
    """A table with one branch, and processes that make its calls."""

    def __init__(self, folder: Path, limit: CallLimit) -> None:
        self.world = with_limits(World.make(), limit)
        self.path = str(folder / "table")
        self.token = self.world.mint(branch_path=[])
        self.table = OwnedTable.create(self.path, TableCapacities(64, 64, 2048, 8))
        give_words(self.table, *LimitScopes.of(self.world.policy).needed(), BOOT)
        self.table.set_policy_generation(1)
        self.table.extend_freshness(2**62, 2**62)
        crew = self.open(ids.crew_key(CREW), ())
        self.open(ids.branch_key(CREW, BRANCH), (crew,))

    def open(self, key: bytes, parents: tuple[int, ...]) -> int:
        now = self.world.now
        return self.table.open_branch(key, parents, bytes(16), 1, now, 2**40, now, BOOT)

    def start(self, *, holds: bool = True, board: str = "") -> "subprocess.Popen[bytes]":
        """A process; its number is that of its attachment."""
        number = self.table.take_attachment()[0] if holds else -1
        script, now = str(SUPPORT / "limit_caller.py"), str(self.world.now)
        process = subprocess.Popen(
            [sys.executable, script, self.path, str(number), now, self.token.decode(), board],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(self.world.policy) + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        return process

    def gate(self) -> Gate:
        """A gate of this process."""
        gate = Gate(self.table, self.table.take_attachment()[0])
        gate.clock = (self.world.now * 10**9, BOOT)
        gate.load(self.world.policy)
        return gate


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()


@pytest.mark.parametrize("per", ["machine", "branch"])
def test_processes_share_a_bucket_exactly(tmp_path: Path, per: str) -> None:
    """Together they are admitted as often as the limit allows: not once more, and not once less.

    Two are workers, and two have the gate embedded.
    """
    limit = rate(per=per, calls=1000, seconds=3, burst=1500)
    callers = Callers(tmp_path, limit)
    model = DrainingDebt(limit)
    processes = [callers.start(holds=number % 2 == 0) for number in range(PROCESSES)]
    try:
        now = BOOT
        for milliseconds in (0, 1, 700, 2, 0, 2999, 3000, 60_000):
            now += milliseconds * 10**6
            allowed = 0
            while model.take(now):
                allowed += 1
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(b"%d\n" % now)
                process.stdin.flush()
            counts = [int(each.stdout.readline()) for each in processes if each.stdout is not None]
            assert sum(counts) == allowed, (milliseconds, counts)
    finally:
        for process in processes:
            _end(process)


@pytest.mark.parametrize("per", ["machine", "run"])
def test_a_killed_process_leaves_no_call_under_way(tmp_path: Path, per: str) -> None:
    """Never are more calls under way than the limit allows, and never does a kill cost a place.

    Each process may be killed at any instruction. Its calls count until the agent drops it.
    """
    seed = int(os.environ.get("CREWGATE_SEED", random.randrange(2**32)))
    choose = random.Random(seed)
    callers = Callers(tmp_path, places(MOST, per=per))
    board = Board(tmp_path / "board")
    processes = {number: callers.start(board=str(tmp_path / "board")) for number in range(3)}
    try:
        for _ in range(KILLS):
            _watch(board, seed)
            number = choose.choice(list(processes))
            _end(processes[number])
            _watch(board, seed, 0)  # its calls count still, and one may not be on the board
            board.put(number, 0)
            callers.table.drop_attachment(number)
            processes[number] = callers.start(board=str(tmp_path / "board"))
    finally:
        for process in processes.values():
            _end(process)
    for number in processes:
        callers.table.drop_attachment(number)
    gate = callers.gate()
    verdicts = [gate.decide(callers.token, TOOL) for _ in range(MOST + 1)]
    assert [type(each) for each in verdicts] == [Permit] * MOST + [Denial], f"CREWGATE_SEED={seed}"
    for each in verdicts[:MOST]:
        assert isinstance(each, Permit)
        each.release()


def _watch(board: Board, seed: int, reached: int = MOST) -> None:
    """Look at the calls under way until they have been as many as `reached`, and never too many."""
    most = looks = 0
    for _ in range(LOOKS_MAX):
        if looks >= LOOKS and most >= reached:
            return
        total = board.total()
        if total is not None:
            assert total <= MOST, f"CREWGATE_SEED={seed}"
            most, looks = max(most, total), looks + 1
    pytest.fail(f"at most {most} of {reached} calls were under way; CREWGATE_SEED={seed}")
