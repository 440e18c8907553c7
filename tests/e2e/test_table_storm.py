"""Real processes on one table under SIGKILL and SIGSTOP: nobody waits, nothing is lost."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from crew_world import CREW, World
from search_depth import deep

from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids

SUPPORT = Path(__file__).parents[1] / "support"
SECONDS = deep(8)
SPENDERS = 3
CAP = 300_000  # micro-credits a branch; a call costs 10
PRICE = 10
ENOUGH = 100  # acknowledged revocations, and calls


class Storm:
    """An agent and some spenders, each of which may be killed at any instant and comes back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = str(folder / "table")
        self.world = World.make()
        self.tokens = [
            self.world.mint(
                execution_branch_id=f"0199c1d2-0000-7000-8000-0000000000{i:02x}", branch_path=[]
            ).decode()
            for i in range(4)
        ]
        self.acknowledged: list[str] = []
        self.burned = 0
        self.prepare()
        self.agent = self.start_agent()
        self.spenders = {n: self.start_spender(n) for n in range(SPENDERS)}

    def prepare(self) -> None:
        """A table with one branch a token, and attachments for the spenders."""
        table = OwnedTable.create(self.path, TableCapacities(64, 65_536, 4096, 8))
        table.set_policy_generation(self.world.policy.generation)
        table.extend_freshness(2**62, 2**62)
        wall, boot = 1_000_000, 10**15
        crew = table.open_branch(ids.crew_key(CREW), (), bytes(16), 2**52, 0, 2**40, wall, boot)
        for i in range(4):
            key = ids.branch_key(CREW, f"0199c1d2-0000-7000-8000-0000000000{i:02x}")
            table.open_branch(key, (crew,), bytes(16), CAP, self.world.now, 2**40, wall, boot)
        for number in range(SPENDERS):
            assert table.take_attachment()[0] == number
        table.close()

    def start_agent(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, str(SUPPORT / "storm_agent.py"), self.path, str(CAP)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def start_spender(self, number: int) -> "subprocess.Popen[bytes]":
        spender = subprocess.Popen(
            [
                sys.executable,
                str(SUPPORT / "storm_spender.py"),
                self.path,
                str(number),
                str(self.world.now),
                str(self.folder / "audit"),
                *self.tokens,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert spender.stdin is not None
        spender.stdin.write(msgspec.json.encode(self.world.policy))
        spender.stdin.close()
        return spender

    def listen(self) -> None:
        """Collect what the agent has acknowledged, without waiting."""
        assert self.agent.stdout is not None
        os.set_blocking(self.agent.stdout.fileno(), False)
        while chunk := self.agent.stdout.read(1 << 16):
            self.hear(chunk)

    def hear(self, chunk: bytes) -> None:
        for line in chunk.split(b"\n"):
            word, _, rest = line.partition(b" ")
            if word == b"revoked" and len(rest) == 32:
                self.acknowledged.append(rest.decode())

    def kill_agent(self) -> None:
        self.agent.kill()
        assert self.agent.stdout is not None
        os.set_blocking(self.agent.stdout.fileno(), True)
        self.hear(self.agent.stdout.read() or b"")
        self.close(self.agent)
        self.agent = self.start_agent()

    def kill_spender(self, number: int) -> None:
        spender = self.spenders[number]
        spender.kill()
        self.close(spender)
        assert self.agent.stdin is not None
        self.agent.stdin.write(b"drop %d\n" % number)

    @staticmethod
    def close(process: "subprocess.Popen[bytes]") -> None:
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def rage(self, seconds: float, seed: int) -> dict[str, int]:
        """Kill and stop at random moments; how often.

        On a slow machine it takes longer than `seconds` until agent and spenders have done enough.
        """
        choose = random.Random(seed)
        done = {"agent killed": 0, "spender killed": 0, "spender stopped": 0}
        stopped: tuple[int, float] | None = None
        until = time.monotonic() + seconds
        while time.monotonic() < until or not self.enough(done):
            time.sleep(choose.uniform(0.02, 0.25))
            self.listen()
            number = choose.randrange(SPENDERS)
            if stopped and time.monotonic() > stopped[1]:
                self.spenders[stopped[0]].send_signal(signal.SIGCONT)
                stopped = None
            if choose.random() < 0.3:
                self.kill_agent()
                done["agent killed"] += 1
            elif not stopped and choose.random() < 0.3:
                self.spenders[number].send_signal(signal.SIGSTOP)
                stopped = (number, time.monotonic() + seconds / 4)
                done["spender stopped"] += 1
            elif not stopped or stopped[0] != number:
                self.kill_spender(number)
                self.spenders[number] = self.start_spender(number)
                done["spender killed"] += 1
        return done

    def enough(self, done: dict[str, int]) -> bool:
        """Whether each kind of process has worked and each kind of harm was done to one."""
        audit = self.folder / "audit"
        called = audit.exists() and audit.stat().st_size > ENOUGH
        return called and len(self.acknowledged) > ENOUGH and all(done.values())

    def end(self) -> OwnedTable:
        for spender in self.spenders.values():
            spender.kill()
            self.close(spender)
        self.listen()
        self.agent.kill()
        self.close(self.agent)
        table = OwnedTable.open(self.path)
        # All of them: a slow agent may have dropped one after its number was in use again.
        for number in range(SPENDERS):
            table.drop_attachment(number)
        return table


def test_storm(tmp_path: Path) -> None:
    """Agent and workers killed and stopped at random lose nothing.

    Every budget is in balance and never passed, every acknowledged revocation still there, every
    admitted call counted in what was settled.
    """
    seed = int(os.environ.get("CREWGATE_SEED", random.randrange(2**32)))
    storm = Storm(tmp_path)
    done = storm.rage(SECONDS, seed)
    table = storm.end()
    where = f"CREWGATE_SEED={seed}, {done}"
    settled = granted = 0
    for record in table.scan(0, table.geometry.branches):
        assert record.reserved == 0, where
        parts = record.available + record.settled + record.given_back + record.burned
        assert parts == record.granted, (where, record)
        assert record.granted - record.given_back <= CAP, (where, record)
        settled += record.settled
        granted += record.granted
    audit = (tmp_path / "audit").read_bytes()
    calls = audit.count(b".") - audit.count(b"x")
    assert settled <= calls * PRICE <= settled + PRICE * (done["spender killed"] + SPENDERS), where
    assert settled > 0, where
    forgotten = [key for key in storm.acknowledged if not table.is_revoked(bytes.fromhex(key))]
    assert forgotten == [], where
