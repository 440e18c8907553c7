"""The local door: where it may be, who may come in, and that it goes away."""

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from crewgate import limits
from crewgate.errors import SidecarError
from crewgate.lifecycle import orchestrator_socket_dir
from crewgate.sidecar import connected_process
from crewgate.sidecar.local_socket import LocalSocketServer
from crewgate.sidecar.user import CommandUser

# Their folders are the machine's, and another run of the tests may be beside this one.
ONE, OTHER = os.urandom(16), os.urandom(16)


def test_a_new_folder_for_its_user_alone(me: CommandUser) -> None:
    """0700 and 0600 from the first moment; both are gone with the door."""
    with LocalSocketServer(None, me, ONE) as door:
        assert door.path.parent.stat().st_mode & 0o777 == 0o700
        assert door.path.stat().st_mode & 0o777 == 0o600
    assert not door.path.parent.exists()


def test_what_a_killed_supervisor_left_is_found_by_its_instance(me: CommandUser) -> None:
    """Folder and socket are cleared away; a folder with something else in it stays."""
    door = LocalSocketServer(None, me, OTHER)
    orchestrator_socket_dir.remove_socket_dir(ONE)
    assert door.path.exists()
    orchestrator_socket_dir.remove_socket_dir(OTHER)
    orchestrator_socket_dir.remove_socket_dir(OTHER)
    assert not door.path.parent.exists()
    door.__exit__(None, None, None)
    with LocalSocketServer(None, me, OTHER) as door:
        beside = door.path.with_name("mine")
        beside.touch()
        orchestrator_socket_dir.remove_socket_dir(OTHER)
        assert beside.exists()
        beside.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_it_belongs_to_the_user_of_cmd() -> None:
    """Folder and socket; no other user passes the folder."""
    with LocalSocketServer(None, CommandUser(70_001, 70_001, "x", "/"), ONE) as door:
        for path in (door.path, door.path.parent):
            assert (path.stat().st_uid, path.stat().st_gid) == (70_001, 70_001)
    assert not door.path.parent.exists()


def test_at_a_path_that_was_given(me: CommandUser, tmp_path: Path) -> None:
    """The folder is made and taken away; one that was there stays."""
    with LocalSocketServer(tmp_path / "new" / "sock", me, ONE) as door:
        assert door.path.parent.stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "new").exists()
    tmp_path.chmod(0o700)
    with LocalSocketServer(tmp_path / "sock", me, ONE):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_others_may_enter_is_refused(me: CommandUser, tmp_path: Path) -> None:
    """With how to mend it; so are a file, a link, and another user's folder."""
    tmp_path.chmod(0o755)
    with pytest.raises(SidecarError, match="chmod 700"):
        LocalSocketServer(tmp_path / "sock", me, ONE)
    tmp_path.chmod(0o700)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(SidecarError, match="must belong to uid"):
        LocalSocketServer(tmp_path / "link" / "sock", me, ONE)
    with pytest.raises(SidecarError, match="must belong to uid 70001"):
        LocalSocketServer(tmp_path / "sock", CommandUser(70_001, 70_001, "x", "/"), ONE)
    with pytest.raises(SidecarError, match="cannot make the socket: No such file"):
        LocalSocketServer(tmp_path / "a" / "b" / "sock", me, ONE)
    with pytest.raises(SidecarError, match="over 107 bytes"):
        LocalSocketServer(tmp_path / ("x" * 200), me, ONE)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("when", ["made", "entered"])
def test_nothing_of_root_s_is_given_away_through_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Whoever owns the folder above swaps the door's for a link, at either moment."""
    other, folder = tmp_path / "of root", tmp_path / "door"
    other.mkdir(mode=0o700)

    def swap() -> None:
        folder.rename(tmp_path / "gone")
        folder.symlink_to(other)

    place, judge = LocalSocketServer._place, LocalSocketServer._check_folder

    def placed(self: LocalSocketServer, path: Path | None) -> Path:
        found = place(self, path)
        if when == "made":
            swap()
        return found

    def judged(self: LocalSocketServer, *given: Any) -> None:
        judge(self, *given)
        if when == "entered":
            swap()

    monkeypatch.setattr(LocalSocketServer, "_place", placed)
    monkeypatch.setattr(LocalSocketServer, "_check_folder", judged)
    user = CommandUser(70_001, 70_001, "x", "/")
    if when == "made":
        with pytest.raises(SidecarError):
            LocalSocketServer(folder / "sock", user, ONE)
    else:
        with LocalSocketServer(folder / "sock", user, ONE):
            assert (tmp_path / "gone" / "sock").is_socket()
    assert list(other.iterdir()) == []
    assert other.stat().st_uid == 0


def test_a_socket_that_was_left_is_replaced_and_nothing_else(
    me: CommandUser, tmp_path: Path
) -> None:
    """A killed supervisor leaves one; a file, and a door that is open, stay."""
    tmp_path.chmod(0o700)
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with (
        LocalSocketServer(path, me, ONE),
        pytest.raises(SidecarError, match="already exists"),
    ):
        LocalSocketServer(path, me, ONE)
    path.write_text("mine")
    with pytest.raises(SidecarError, match="already exists"):
        LocalSocketServer(path, me, ONE)
    assert path.read_text() == "mine"


@pytest.fixture
async def said(me: CommandUser, log_lines: list[str]) -> AsyncIterator[tuple[Path, list[str]]]:
    """An open door that says hello; what it says of others."""

    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"hello")

    with LocalSocketServer(None, me, ONE) as door:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.serve, greet)
            yield door.path, log_lines
            nursery.cancel_scope.cancel()


async def _heard(path: Path) -> bytes:
    async with await trio.open_unix_socket(path) as stream:
        try:
            return bytes(await stream.receive_some(100))
        except trio.BrokenResourceError:
            return b""


async def test_who_does_not_descend_from_us_is_refused(
    said: tuple[Path, list[str]],
) -> None:
    """This process is not below itself: it has the uid, hears nothing, and it is said."""
    path, lines = said
    assert await _heard(path) == b""
    assert len(lines) == 1
    assert lines[0].startswith(
        f"refused a connection: process {os.getpid()} is no descendant of CMD"
    )


async def test_a_child_is_served(said: tuple[Path, list[str]]) -> None:
    """It has the uid, and we are its parent."""
    path, lines = said
    code = f"import socket; s = socket.socket(1); s.connect({str(path)!r}); print(s.recv(9))"
    done = await trio.run_process(["python3", "-c", code], capture_stdout=True)
    assert done.stdout == b"b'hello'\n"
    assert lines == []


async def test_another_uid_is_refused(
    said: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the kernel's word, whatever the file mode says."""
    path, lines = said
    peer = connected_process.peer_of

    def stranger(connection: object) -> object:
        found = peer(connection)  # type: ignore[arg-type]
        return type(found)(found.pid, found.uid + 1, found.groups)

    monkeypatch.setattr(connected_process, "peer_of", stranger)
    assert await _heard(path) == b""
    assert "of uid" in lines[0]


async def test_so_many_at_once_and_the_next_one_waits(
    me: CommandUser, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    """Beyond the bound a connection is served when another has ended; errors end one alone."""
    monkeypatch.setattr(limits, "run_connections_max", 2)
    monkeypatch.setattr(connected_process, "is_below", lambda pid, ancestor: True)
    served = 0
    begun, go_on = trio.Semaphore(0), trio.Event()

    async def carry(stream: trio.SocketStream) -> None:
        nonlocal served
        served += 1
        begun.release()
        await go_on.wait()
        raise [SidecarError("no gateway"), ValueError("ours")][served % 2]

    with LocalSocketServer(None, me, ONE) as door:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.serve, carry)
            streams = [await trio.open_unix_socket(door.path) for _ in range(3)]
            await begun.acquire()
            await begun.acquire()
            await trio.testing.wait_all_tasks_blocked()
            assert served == 2
            go_on.set()
            await begun.acquire()
            assert served == 3
            for stream in streams:
                assert await stream.receive_some(1) == b""
                await stream.aclose()
            nursery.cancel_scope.cancel()
    assert "no gateway" in log_lines
    assert any("internal error: ValueError" in line for line in log_lines)
