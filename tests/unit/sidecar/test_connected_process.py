"""The process behind a connection: who is admitted, and that a reused pid admits nobody."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crewgate.sidecar import connected_process
from crewgate.sidecar.connected_process import ConnectedProcess

SCRIPT = Path(__file__).parents[2] / "support" / "reused_pid.py"
# Each connects, says so, and stays until its input ends.
CHILD = "import socket, sys; s = socket.socket(1); s.connect(sys.argv[1]); s.recv(1); input()"


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        yield listener


def connected(listener: socket.socket) -> "tuple[subprocess.Popen[bytes], socket.socket]":
    """A process that has connected, and its connection."""
    command = [sys.executable, "-c", CHILD, listener.getsockname()]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    return process, listener.accept()[0]


def end(process: "subprocess.Popen[bytes]", connection: socket.socket) -> None:
    """Let it go on to its end, and wait for that."""
    connection.close()
    process.communicate(b"\n")


@pytest.mark.parametrize("missing", [False, True], ids=["SO_PEERPIDFD", "an older kernel"])
def test_a_child_descends_from_us_until_it_ends(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, missing: bool
) -> None:
    """It descends from us, not from itself; once it has ended, from nobody."""
    if missing:
        monkeypatch.setattr(connected_process, "_SO_PEERPIDFD", 10_000)
    process, connection = connected(listener)
    with ConnectedProcess(connection) as peer:
        assert (peer.pid, peer.uid) == (process.pid, os.geteuid())
        assert not peer.has_ended
        assert peer.descends_from(os.getpid())
        assert not peer.descends_from(process.pid)
        end(process, connection)
        assert peer.has_ended
        assert not peer.descends_from(os.getpid())


def test_we_do_not_descend_from_ourselves(listener: socket.socket) -> None:
    """A process beside CMD, of the same user, is a stranger."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(listener.getsockname())
        with listener.accept()[0] as connection, ConnectedProcess(connection) as peer:
            assert peer.pid == os.getpid()
            assert not peer.descends_from(os.getpid())


def test_a_process_that_has_ended_before_the_accept_is_nobody(listener: socket.socket) -> None:
    """The kernel no longer knows it."""
    code = "import socket, sys; socket.socket(1).connect(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, listener.getsockname()], check=True)
    with listener.accept()[0] as connection, ConnectedProcess(connection) as peer:
        assert peer.has_ended
        assert not peer.descends_from(os.getpid())


def test_a_reused_pid_is_refused_and_a_double_fork_is_not(tmp_path: Path) -> None:
    """In a pid space of its own; see the script, which is the sidecar there."""
    probe = subprocess.run(["unshare", "--pid", "--fork", "true"], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip(f"no pid namespace can be made: {probe.stderr.decode().strip()}")
    done = subprocess.run(
        [
            *["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"],
            *[sys.executable, SCRIPT, tmp_path / "socket"],
        ],
        check=False,
        capture_output=True,
        timeout=60,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["orphan", "True", "stranger", "False", "reused", "False"]
