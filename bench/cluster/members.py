"""Members in processes of their own, as whoever measures them sees them."""

import json
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from bench.hop.processes import cpu_seconds, resident_megabytes
from crewgate.config import Config

WAIT_SECONDS = 600.0  # only a hang gets there: a million capsules take minutes where all is busy
LOOK_SECONDS = 0.05
END_SECONDS = 30.0


class Member:
    """One that serves; `started_seconds` is from the start of its process to its first word."""

    def __init__(self, config: Config, host: str) -> None:
        self._begun = time.monotonic()
        log = config.path.with_name("member.log")
        with log.open("ab") as words:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.cluster.member", str(config.path), host],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
            )
        self._log = log
        self.started_seconds = 0.0
        self.first: dict[str, Any] = {}

    def wait_for_start(self) -> None:
        """Until it has restored what its disk held."""
        self.first = self._hear()
        self.started_seconds = time.monotonic() - self._begun

    def say(self, **question: object) -> None:
        """Ask; `hear` the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """What it answers; ends the run if it is gone."""
        return self._hear()

    def state(self) -> dict[str, Any]:
        """What it says of itself."""
        self.say()
        return self._hear()

    def wait(self, is_so: Callable[[dict[str, Any]], bool]) -> float:
        """Look until its state is so; seconds since its process was started."""
        until = time.monotonic() + WAIT_SECONDS
        while not is_so(state := self.state()):
            if time.monotonic() > until:
                raise SystemExit(f"bench: a member never got there: {state}")
            time.sleep(LOOK_SECONDS)
        return time.monotonic() - self._begun

    @property
    def cpu(self) -> float:
        """Seconds of it so far, all threads."""
        return cpu_seconds([self._process.pid])

    @property
    def megabytes(self) -> float:
        """Resident, 10^6 bytes."""
        return resident_megabytes(self._process.pid)

    @property
    def peak_megabytes(self) -> float:
        """The most that it was since its start."""
        return resident_megabytes(self._process.pid, "VmHWM")

    def end(self) -> None:
        """Let it say goodbye."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if selector.select(WAIT_SECONDS) and (line := self._process.stdout.readline()):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise SystemExit(f"bench: a member ended: {self._log.read_text(errors='replace')[-500:]}")


@contextmanager
def serving(machines: Sequence[Config], host: str = "counting") -> Iterator[list[Member]]:
    """All of them, which have compared what they know with a majority of one another."""
    with ExitStack() as stack:
        members = []
        for config in machines:
            member = Member(config, host)
            stack.callback(member.end)
            members.append(member)
        for member in members:
            member.wait_for_start()
        for member in members:
            member.wait(lambda state: state["others"] == len(machines) - 1 and state["is_fresh"])
        yield members
