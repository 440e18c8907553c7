"""`crewgate restart` signals the `serve` whose agent answers, and nobody else."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from crewgate.cli.commands import restart
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.sockets import AgentSocketKind, ProcessCredentials
from crewgate.lifecycle.processes import NOBODY

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


class Pair:
    """A process that is called as `word` says, and one that it has started."""

    def __init__(self, word: str) -> None:
        command = [sys.executable, "-c", PARENT, word]
        self.parent = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.parent.stdout is not None
        self.child = int(self.parent.stdout.readline())
        self.agent = ProcessCredentials(self.child, os.geteuid(), frozenset())

    def end(self) -> None:
        os.kill(self.child, signal.SIGKILL)
        self.parent.kill()
        self.parent.wait()
        assert self.parent.stdout is not None
        self.parent.stdout.close()


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Of `serve`, or what a test names."""
    made = Pair(getattr(request, "param", "serve"))
    yield made
    made.end()


def test_the_serve_that_started_the_agent_is_signalled(pair: Pair) -> None:
    """And no other process that has its pid by then."""
    serve = restart._serve_of(pair.agent)
    assert serve.pid == pair.parent.pid
    with pytest.raises(click.ClickException, match="has just ended"):
        restart._signal(msgspec.structs.replace(serve, began=serve.began - 1))
    assert pair.parent.poll() is None
    restart._signal(serve)
    assert pair.parent.wait() == -signal.SIGUSR2


@pytest.mark.parametrize("pair", ["server"], indirect=True)
def test_a_parent_that_is_no_serve_is_not_signalled(pair: Pair) -> None:
    """An agent that somebody started by hand, or left."""
    with pytest.raises(click.ClickException, match="end the process that started it"):
        restart._serve_of(pair.agent)


def test_a_serve_of_another_user_is_not_signalled(pair: Pair) -> None:
    """Root would signal anybody's, for an agent that answers as somebody else."""
    other = msgspec.structs.replace(pair.agent, uid=os.geteuid() + 1)
    with pytest.raises(click.ClickException, match="of its own user"):
        restart._serve_of(other)


@pytest.mark.parametrize("pid", [0, 2**22 + 1])
def test_an_agent_that_is_not_seen_has_no_serve(pid: int) -> None:
    """It has ended, or is in another name space of processes."""
    with pytest.raises(click.ClickException, match="is not visible here"):
        restart._serve_of(ProcessCredentials(pid, os.geteuid(), frozenset()))


def test_who_the_agent_is_the_kernel_says(tmp_path: Path) -> None:
    """What answers at its door could name any process."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / AgentSocketKind.OWNER.value))
        door.listen()
        with AdminClient(tmp_path) as owner:
            assert (owner.agent.pid, owner.agent.uid) == (os.getpid(), os.geteuid())


def test_nobody_is_no_serve() -> None:
    """A signal to pid 0 would reach the whole group."""
    with pytest.raises(click.ClickException, match="has just ended"):
        restart._signal(NOBODY)
