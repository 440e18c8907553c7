"""Orchestrators under `crewgate run`, as processes of a test, and what is left of them."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from installation import COMMAND, Premises, process_state, wait_until

CREW = "article"
_STARTED = re.compile(r"process (\d+) runs as")


class Running:
    """One `crewgate run`; what it and CMD say goes to files."""

    def __init__(self, premises: Premises, name: str, *command: str, **options: Any) -> None:
        self.premises = premises
        self.name = name
        self.out = premises.folder / f"{name}.out"
        self.log = premises.folder / f"{name}.log"
        given = [part for key, value in options.items() for part in (f"--{key}", str(value))]
        who = ("-c", str(premises.file), "--crew", CREW, "--name", name)
        with self.out.open("wb") as out, self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "run", *who, *given, "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )

    @property
    def label(self) -> str:
        return f"{CREW}/{self.name}"

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def printed(self) -> str:
        return self.out.read_text(errors="replace")

    @property
    def child(self) -> int:
        """The process id of CMD, once it was started."""
        wait_until(lambda: _STARTED.search(self.said) or self.process.poll() is not None)
        found = _STARTED.search(self.said)
        assert found, self.said
        return int(found[1])

    def wait(self) -> int:
        return self.process.wait(60)

    def serials(self) -> list[str]:
        """Of its certificates so far, oldest first."""
        return re.findall(r"certificate ([0-9A-F]+); the next renewal", self.said)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextmanager
def running(premises: Premises, name: str, *command: str, **options: Any) -> Iterator[Running]:
    """An orchestrator that ends with the block."""
    orchestrator = Running(premises, name, *command, **options)
    try:
        yield orchestrator
    finally:
        orchestrator.end()


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    return process_state(pid) not in {"", "Z"}


def curl(path: str, *more: str, token: str) -> str:
    """A command line for a shell below the door."""
    return (
        f'curl -sS -N --unix-socket "$CREWGATE_SOCKET" -H "authorization: Bearer {token}" '
        f'{" ".join(more)} "$CREWGATE_GATEWAY{path}"'
    )
