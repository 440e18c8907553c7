"""Reports to the agent: one that is away costs nothing, and is found again."""

import socket
from pathlib import Path

import pytest

from crewgate import limits
from crewgate.core.health import failed
from crewgate.ipc.admin_messages import ProcessHealthReport, owner_asks
from crewgate.ipc.attach_messages import unpack
from crewgate.ipc.frames import FrameDecoder
from crewgate.ipc.health_report_client import HealthReportClient
from crewgate.ipc.sockets import AgentSocketKind, connectable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder."""
    tmp_path.chmod(0o710)
    return tmp_path


def _door(folder: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    (folder / AgentSocketKind.OWNER.value).unlink(missing_ok=True)
    with connectable(folder, AgentSocketKind.OWNER.value) as where:
        listener.bind(where)
    (folder / AgentSocketKind.OWNER.value).chmod(AgentSocketKind.OWNER.mode)
    listener.listen(4)
    return listener


@pytest.mark.parametrize("seconds", [limits.health_report_seconds_max, 0.0])
def test_a_report_reaches_the_agent_and_the_next_one_its_successor(
    folder: Path, seconds: float
) -> None:
    """No answer is waited for; a connection that was hung up is made anew at once."""
    reporter = HealthReportClient(folder, "control", seconds)
    fact = failed("control: register", "full")
    assert not reporter.report([fact])
    for _ in range(2):
        with _door(folder) as door:
            while not reporter.report([fact]):
                pass
            connection, _ = door.accept()
            with connection:
                (body,) = FrameDecoder().feed(connection.recv(65536))
        found = unpack(owner_asks, body)
        assert isinstance(found, ProcessHealthReport)
        assert (found.source, found.facts) == ("control", [fact])
    reporter.close()
