"""Doors: long folders work, strangers do not."""

import os
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from crewgate.errors import ConfigurationError, ServiceConnectionError
from crewgate.ipc.sockets import (
    AgentSocketKind,
    ProcessCredentials,
    connect,
    connectable,
    descriptors,
    listen_anew,
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


@pytest.mark.parametrize("length", [1, 200])
def test_a_new_socket_takes_the_place_of_a_dead_one_only(tmp_path: Path, length: int) -> None:
    """Not of one at which a process listens, even if it accepts nothing, nor of a link or file."""
    folder = tmp_path / ("d" * length)
    folder.mkdir()
    listen_anew(folder, "admin.sock", 0o600).close()
    with listen_anew(folder, "admin.sock", 0o660) as listener, ExitStack() as stack:
        assert (folder / "admin.sock").stat().st_mode & 0o777 == 0o660
        listener.listen(0)
        for _ in range(3):  # the second one finds no room
            with pytest.raises(ConfigurationError, match=r"admin\.sock: cannot listen: a program"):
                listen_anew(folder, "admin.sock", 0o600)
            client = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            client.settimeout(0)
            with connectable(folder, "admin.sock") as where, suppress(BlockingIOError):
                client.connect(where)
        theirs, _ = listener.accept()
        theirs.close()
    (folder / "link.sock").symlink_to("admin.sock")
    (folder / "file.sock").write_text("kept")
    for name in ("link.sock", "file.sock"):
        with pytest.raises(ConfigurationError, match="or a file is here"):
            listen_anew(folder, name, 0o600)
    assert (folder / "file.sock").read_text() == "kept"
