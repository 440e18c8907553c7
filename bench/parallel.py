"""Two threads in one process, and two processes on one shared table: calls a second together.

Each round measures one alone and two together, one after the other; with two cores free the best
possible ratio is 2. Threads share an interpreter lock, which is released around a signature only.
"""

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.sampling import Spread
from bench.world import SEARCH, SMALL, World, clocks, expect, open_line
from crewgate._native.gate import Gate
from crewgate._native.table import Table
from crewgate._native.table_owner import OwnedTable

THREAD_CALLS = 200  # verifications a thread and round: 12 ms
PROCESS_CALLS = 100_000  # decisions a process and round: 30 ms
GO, STOP = b"g", b"s"
SHARED = SMALL._replace(attachments=16)


@dataclass(frozen=True)
class Scaling:
    """Calls a second of one and of two together, and their ratio, round by round."""

    name: str
    one: Spread
    two: Spread
    ratio: Spread


def scaling(name: str, run: Callable[[int], float], rounds: int) -> Scaling:
    """`run(n)` lets n of them work and returns calls a second in sum."""
    run(2)
    pairs = [(run(1), run(2)) for _ in range(rounds)]
    ones, twos = [one for one, _ in pairs], [two for _, two in pairs]
    ratios = [two / one for one, two in pairs]
    return Scaling(name, Spread.of(ones), Spread.of(twos), Spread.of(ratios))


def together(works: list[Callable[[], None]], calls: int) -> float:
    """Calls a second of threads that start at once, until the last one is done."""
    barrier = threading.Barrier(len(works) + 1)

    def run(work: Callable[[], None]) -> None:
        barrier.wait()
        work()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return calls * len(works) / (time.perf_counter() - start)


def threads(rounds: int) -> Scaling:
    """Cold decisions by threads that share one gate."""
    world = World()
    line = world.line()
    table = OwnedTable.private(SMALL)
    table.set_policy_generation(world.policy.generation)
    open_line(table, line)
    gate = world.gate(table, holds=False)
    tokens = [world.mint(line) for _ in range(2 * THREAD_CALLS)]
    expect(gate.decide(tokens[0], SEARCH))

    def work(own: list[bytes]) -> Callable[[], None]:
        def decide() -> None:
            for token in own:
                gate.decide(token, SEARCH)

        return decide

    def run(count: int) -> float:
        gate.load(world.policy)  # forgets the tokens: all are cold again
        starts = range(0, count * THREAD_CALLS, THREAD_CALLS)
        return together([work(tokens[at : at + THREAD_CALLS]) for at in starts], THREAD_CALLS)

    return scaling("two threads, one gate: cold decisions", run, rounds)


def spend(gate: Gate, token: bytes, commands: int, answers: int) -> None:
    """A child's life: a byte in, many decisions, out how many nanoseconds they took."""
    decide: Any = gate.decide  # a permit, as was made sure
    while os.read(commands, 1) == GO:
        start = time.perf_counter_ns()
        for _ in range(PROCESS_CALLS):
            decide(token, SEARCH).settle()
        os.write(answers, (time.perf_counter_ns() - start).to_bytes(8, "little"))


class Spender:
    """A process of its own that attached to the table through its descriptor."""

    def __init__(self, world: World, owned: OwnedTable, token: bytes) -> None:
        number, _ = owned.take_attachment()
        commands, self._command = os.pipe()
        self._answer, answers = os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(commands)
            os.close(answers)
            return
        try:
            os.close(self._command)
            os.close(self._answer)
            gate = world.gate(Table.attach(owned.fd), number, holds=True)
            expect(gate.decide(token, SEARCH))
            spend(gate, token, commands, answers)
        finally:
            os._exit(0)

    def start(self) -> None:
        """Begin a round."""
        os.write(self._command, GO)

    def nanoseconds(self) -> int:
        """Wait for the round's end."""
        return int.from_bytes(os.read(self._answer, 8), "little")

    def end(self) -> None:
        """Let it go, and wait for it. Told, not closed on: its sibling has the pipe's end too."""
        os.write(self._command, STOP)
        os.close(self._command)
        os.close(self._answer)
        os.waitpid(self._pid, 0)


def processes(rounds: int) -> list[Scaling]:
    """Warm decisions of processes on one mmap file: each its own branch, then both the same."""
    world = World()
    with tempfile.TemporaryDirectory() as folder:
        table = OwnedTable.create(str(Path(folder, "table")), SHARED)
        table.set_policy_generation(world.policy.generation)
        until = clocks()[1] + 3_600 * 10**9
        table.extend_freshness(until, until)
        lines = [world.line() for _ in range(2)]
        for line in lines:
            open_line(table, line)
        tokens = [world.mint(line) for line in lines]
        try:
            return [
                shared("two processes, a branch each", world, table, tokens, rounds),
                shared("two processes, the same branch", world, table, tokens[:1] * 2, rounds),
            ]
        finally:
            table.close()


def shared(name: str, world: World, table: OwnedTable, tokens: list[bytes], rounds: int) -> Scaling:
    """Fork one spender a token, measure, end them."""
    spenders = [Spender(world, table, token) for token in tokens]

    def run(count: int) -> float:
        for spender in spenders[:count]:
            spender.start()
        spent = [spender.nanoseconds() for spender in spenders[:count]]
        return count * PROCESS_CALLS / (statistics.fmean(spent) / 1e9)

    try:
        return scaling(name, run, rounds)
    finally:
        for spender in spenders:
            spender.end()
