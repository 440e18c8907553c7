"""Doors: long folders work, strangers do not."""

import os
import socket
from pathlib import Path

import pytest

from crewgate.errors import ServiceConnectionError
from crewgate.ipc.sockets import (
    AgentSocketKind,
    ProcessCredentials,
    connect,
    connectable,
    descriptors,
    may_enter,
    peer_of,
)

OWNER, GROUP = 1000, 2000


def _listen(folder: Path, door: AgentSocketKind) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connectable(folder, door.value) as where:
        listener.bind(where)
    listener.listen()
    return listener


@pytest.mark.parametrize("length", [1, 200])
def test_a_folder_of_any_length_is_reached(tmp_path: Path, length: int) -> None:
    """A path over the 107 bytes of a unix address binds and connects like a short one."""
    folder = tmp_path / ("d" * length)
    folder.mkdir()
    with (
        _listen(folder, AgentSocketKind.GROUP) as listener,
        connect(folder, AgentSocketKind.GROUP) as ours,
    ):
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
    with pytest.raises(ServiceConnectionError, match="crewgate serve"):
        connect(folder, AgentSocketKind.OWNER)
    folder.mkdir()
    _listen(folder, AgentSocketKind.OWNER).close()
    with pytest.raises(ServiceConnectionError, match="crewgate serve"):
        connect(folder, AgentSocketKind.OWNER)


@pytest.mark.parametrize(
    ("door", "uid", "groups", "passes"),
    [
        (AgentSocketKind.OWNER, OWNER, {1}, True),
        (AgentSocketKind.OWNER, 0, {0}, True),
        (AgentSocketKind.OWNER, 1001, {GROUP}, False),
        (AgentSocketKind.GROUP, OWNER, {1}, True),
        (AgentSocketKind.GROUP, 0, {0}, True),
        (AgentSocketKind.GROUP, 1001, {5, GROUP}, True),
        (AgentSocketKind.GROUP, 1001, {5}, False),
    ],
)
def test_who_may_enter(door: AgentSocketKind, uid: int, groups: set[int], *, passes: bool) -> None:
    """The owner's door is for the owner and root; the group's for the group as well."""
    peer = ProcessCredentials(pid=1, uid=uid, groups=frozenset(groups))
    assert may_enter(door, peer, OWNER, GROUP) is passes


def test_descriptors_are_read_and_others_are_not() -> None:
    """Only SCM_RIGHTS counts, and a torn descriptor at the end is none."""
    right = (socket.SOL_SOCKET, socket.SCM_RIGHTS, (7).to_bytes(4, "little") + b"\0\0")
    other = (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, bytes(12))
    assert descriptors([other, right]) == [7]
