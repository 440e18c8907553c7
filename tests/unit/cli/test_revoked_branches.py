"""What mint and refresh do where a running agent knows that a branch is dead."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_runner import Run

from crewgate import limits
from crewgate.config import load
from crewgate.ipc.admin_messages import BranchState, TreePage, TreeRow, owner_asks
from crewgate.ipc.attach_messages import pack, unpack
from crewgate.ipc.frames import FrameDecoder
from crewgate.ipc.sockets import AgentSocketKind, connectable
from crewgate.issuer.inspection import read_claims


@contextmanager
def agent_that_knows(config: Path, branch: str, state: BranchState) -> Iterator[None]:
    """An owner's door behind which one branch of crew article stands in one state."""
    folder = load(config).state
    folder.mkdir(mode=0o700, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connectable(folder, AgentSocketKind.OWNER.value) as where:
        listener.bind(where)
    listener.listen()
    row = TreeRow(crew="article", branch=branch, state=state)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            (body,) = FrameDecoder().feed(connection.recv(65_536))
            question = unpack(owner_asks, body)
            connection.sendall(pack(TreePage(id=question.id, rows=[row], last=True)))

    thread = threading.Thread(target=serve)
    thread.start()
    with listener:
        yield
        thread.join()


@pytest.mark.parametrize("state", ["revoked", "closed"])
def test_a_dead_branch_is_not_refreshed(
    mint: Run, run: Run, fresh: Path, state: BranchState
) -> None:
    """The agent is asked, and its word that the branch is dead ends the matter."""
    token = mint().stdout.strip()
    branch = read_claims(token).execution_branch_id
    with agent_that_knows(fresh, branch, state):
        result = run("refresh", "-c", fresh, token)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"branch {branch} was revoked" in result.stderr


def test_nothing_is_minted_below_a_revoked_ancestor(mint: Run, fresh: Path) -> None:
    """A parent whose own parent is dead has no more children."""
    root = mint().stdout.strip()
    parent = mint("--parent", root).stdout.strip()
    with agent_that_knows(fresh, read_claims(root).execution_branch_id, "revoked"):
        result = mint("--parent", parent)
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize("state", ["live", "exhausted", "token-revoked"])
def test_a_branch_that_is_not_dead_is_refreshed(
    mint: Run, run: Run, fresh: Path, state: BranchState
) -> None:
    """An exhausted branch may be given more, so only death refuses."""
    token = mint().stdout.strip()
    with agent_that_knows(fresh, read_claims(token).execution_branch_id, state):
        result = run("refresh", "-c", fresh, token)
    assert result.exit_code == 0
    assert read_claims(result.stdout).execution_branch_id == read_claims(token).execution_branch_id


@pytest.mark.parametrize(("hours", "status"), [(11, 0), (13, 2)])
def test_a_token_of_which_all_may_be_forgotten_gets_nobody_another(
    mint: Run, run: Run, fresh: Path, monkeypatch: pytest.MonkeyPatch, hours: int, status: int
) -> None:
    """Its revocation is remembered for a day: half of that after its end it is not believed."""
    token = mint().stdout.strip()
    later = time.time() + limits.token_lifetime_seconds_max + hours * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert run("refresh", "-c", fresh, token).exit_code == status
    assert mint("--parent", token).exit_code == status
