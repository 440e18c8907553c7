"""The two sockets of a real agent: where they are, whom it accepts, and what garbage does."""

import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from agent_process import Enter, Site

from crewgate.ipc.attach_messages import VERSION, Attach, RevocationAck, pack
from crewgate.ipc.handshake import attach


def test_a_state_folder_may_have_any_length(tmp_path: Path) -> None:
    """Longer than a unix address: doors, commands and guests find each other all the same."""
    site = Site(tmp_path, state="/".join(["d" * 60] * 3))
    try:
        site.agent()
        assert site.status().ready
        attachment = attach(site.state)
        attachment.connection.close()
        os.close(attachment.table)
    finally:
        site.end()


@pytest.mark.parametrize("garbage", [b"\xff" * 64, b"\0\0\0\0", b"GET / HTTP/1.1\r\n\r\n"])
def test_garbage_ends_its_connection_only(site: Site, enter: Enter, garbage: bytes) -> None:
    """At either door; the agent goes on."""
    site.agent()
    for name in ("agent.sock", "owner.sock"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(site.state / name))
            connection.sendall(garbage)
            with suppress(ConnectionResetError):
                while connection.recv(4096):
                    pass
    enter().settled(site.world.token)


@pytest.mark.parametrize(
    ("asks", "says"),
    [
        ([RevocationAck(id=1, last_cut_ns=0, count=0)], "attach first"),
        ([Attach(version=VERSION + 1)], f"version {VERSION + 1}"),
        ([Attach(version=VERSION), Attach(version=VERSION)], ""),
    ],
    ids=["not attached", "another version", "twice"],
)
def test_a_guest_that_breaks_the_protocol_is_put_out(
    site: Site, asks: list[Attach | RevocationAck], says: str
) -> None:
    """It hears why where it can, its number is free again, and the agent goes on."""
    site.agent()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(site.state / "agent.sock"))
        connection.sendall(b"".join(map(pack, asks)))
        heard = b""
        with suppress(ConnectionResetError):
            while data := connection.recv(4096):
                heard += data
    assert says.encode() in heard
    assert site.status().counts["attachments"] == 0


def test_doors_have_their_modes(site: Site) -> None:
    """The group may attach; only the owner may revoke."""
    site.agent()
    assert (site.state / "agent.sock").stat().st_mode & 0o777 == 0o660
    assert (site.state / "owner.sock").stat().st_mode & 0o777 == 0o600
    assert (site.state / "table").stat().st_mode & 0o777 == 0o600


STRANGER = """
import os, socket, sys
os.chdir(sys.argv[1])
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(10)
    s.connect(sys.argv[2])
    print(len(s.recv(100)))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("name", ["agent.sock", "owner.sock"])
def test_a_stranger_is_sent_away_whatever_the_files_mode(site: Site, name: str) -> None:
    """With the modes opened by mistake the kernel's word on who connects still decides."""
    site.agent()
    site.state.chmod(0o711)
    (site.state / name).chmod(0o666)
    stranger = subprocess.run(
        [sys.executable, "-c", STRANGER, str(site.state), name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert stranger.stdout == "0\n", stranger.stderr
    assert any("may not use" in str(line.get("detail")) for line in site.audit())


MEMBER = """
import os, socket, sys
from pathlib import Path
from crewgate import limits
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.handshake import attach
os.chdir(sys.argv[1])  # a test's folder is closed to others
os.setgroups([]); os.setuid(65534)  # and the group is the service's
try:
    attach(Path(), worker=0)
except ServiceConnectionError as refused:
    print(refused)
crowd = []
for _ in range(limits.ipc_other_users_max + 1):
    crowd.append(socket.socket(socket.AF_UNIX))
    crowd[-1].connect("agent.sock")
crowd[-1].settimeout(10)
print(len(crowd[-1].recv(100)), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_group_can_neither_pose_as_a_worker_nor_keep_workers_out(
    site: Site, enter: Enter
) -> None:
    """Processes of other users have half the places at most, and are embedders."""
    site.agent()
    with subprocess.Popen(
        [sys.executable, "-c", MEMBER, str(site.state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as member:
        assert member.stdout is not None
        assert "attach as an embedder" in member.stdout.readline()
        assert member.stdout.readline() == "0\n"
        enter().settled(site.world.token)
        member.communicate()
