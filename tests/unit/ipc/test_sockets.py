"""Doors: long folders work, strangers do not."""

import os
import socket
from pathlib import Path

import pytest

from crewgate.errors import LinkError
from crewgate.ipc.sockets import (
    AgentSocket,
    ProcessCredentials,
    address,
    connect,
    descriptors,
    may_enter,
    peer_of,
)

OWNER, GROUP = 1000, 2000


def _listen(folder: Path, door: AgentSocket) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with address(folder, door) as where:
        listener.bind(where)
    listener.listen()
    return listener


@pytest.mark.parametrize("length", [1, 200])
def test_a_folder_of_any_length_is_reached(tmp_path: Path, length: int) -> None:
    """A path over the 107 bytes of a unix address binds and connects like a short one."""
    folder = tmp_path / ("d" * length)
    folder.mkdir()
    with _listen(folder, AgentSocket.GROUP) as listener, connect(folder, AgentSocket.GROUP) as ours:
        theirs, _ = listener.accept()
        with theirs:
            assert peer_of(theirs).pid == os.getpid()
            assert peer_of(theirs).uid == os.geteuid()
            assert os.getegid() in peer_of(theirs).groups
            theirs.sendall(b"x")
            assert ours.recv(1) == b"x"
    assert (folder / "agent.sock").is_socket()


@pytest.mark.parametrize("length", [1, 200])
def test_nobody_there_is_one_clear_line(tmp_path: Path, length: int) -> None:
    """No folder, or no listener: the error says what to start."""
    folder = tmp_path / ("d" * length)
    with pytest.raises(LinkError, match="crewgate serve"):
        connect(folder, AgentSocket.OWNER)
    folder.mkdir()
    _listen(folder, AgentSocket.OWNER).close()
    with pytest.raises(LinkError, match="crewgate serve"):
        connect(folder, AgentSocket.OWNER)


@pytest.mark.parametrize(
    ("door", "uid", "groups", "passes"),
    [
        (AgentSocket.OWNER, OWNER, {1}, True),
        (AgentSocket.OWNER, 0, {0}, True),
        (AgentSocket.OWNER, 1001, {GROUP}, False),
        (AgentSocket.GROUP, OWNER, {1}, True),
        (AgentSocket.GROUP, 0, {0}, True),
        (AgentSocket.GROUP, 1001, {5, GROUP}, True),
        (AgentSocket.GROUP, 1001, {5}, False),
    ],
)
def test_who_may_enter(door: AgentSocket, uid: int, groups: set[int], *, passes: bool) -> None:
    """The owner's door is for the owner and root; the group's for the group as well."""
    peer = ProcessCredentials(pid=1, uid=uid, groups=frozenset(groups))
    assert may_enter(door, peer, OWNER, GROUP) is passes


def test_descriptors_are_read_and_others_are_not() -> None:
    """Only SCM_RIGHTS counts, and a torn descriptor at the end is none."""
    right = (socket.SOL_SOCKET, socket.SCM_RIGHTS, (7).to_bytes(4, "little") + b"\0\0")
    other = (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, bytes(12))
    assert descriptors([other, right]) == [7]
