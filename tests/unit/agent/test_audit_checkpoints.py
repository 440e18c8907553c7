"""The agent's checkpoints: a trouble is in health, and ends when the disk takes them again."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from crewgate.agent.audit_checkpoints import AuditCheckpoints
from crewgate.audit import folder as audit_folder
from crewgate.audit.checkpoints.log import log_files
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.audit.checkpoints.verification import verify
from crewgate.core.health import HealthState


@pytest.fixture
def config(tmp_path: Path) -> Any:
    folder = tmp_path / "audit"
    descriptor, _ = audit_folder.create(folder, "worker-0", 10**18)
    os.write(descriptor, b"{}\n")
    audit = SimpleNamespace(folder=folder)
    return SimpleNamespace(path=tmp_path / "c.toml", state=tmp_path, name="gw-1", audit=audit)


def test_the_audit_is_signed(config: Any) -> None:
    checkpoints = AuditCheckpoints(lambda: cast("Any", config))
    checkpoints.take()
    assert len(log_files(config.audit.folder)) == 1
    checkpoints.end()
    assert checkpoints.fact().state is HealthState.OK


@pytest.mark.parametrize("is_restart", [False, True])
def test_a_folder_of_before_is_signed_until_its_processes_have_left(
    config: Any, is_restart: bool
) -> None:
    """A reload or a restart can name another folder, whose log is another one."""
    checkpoints = AuditCheckpoints(lambda: cast("Any", config))
    taken: list[int] = []
    checkpoints.take()
    before = config.audit.folder
    config.audit = SimpleNamespace(folder=config.state / "other")
    if is_restart:
        checkpoints.end()
        checkpoints = AuditCheckpoints(lambda: cast("Any", config))
    checkpoints.on_taken = lambda number, _: taken.append(number)
    descriptor, _ = audit_folder.create(config.audit.folder, "worker-0", 10**18)
    checkpoints.take()
    assert len(log_files(config.audit.folder)) == 1
    (file,) = audit_folder.files(before)
    with file.open("ab") as late:
        late.write(b"{}\n")
    checkpoints.take()
    os.write(descriptor, b"{}\n")
    checkpoints.take()
    key = CheckpointKey.load(config.state).public
    for folder in (before, config.audit.folder):
        found = verify(folder, [key], is_pruned=False)
        assert (found.findings, found.unsigned) == ([], [])
    assert taken == sorted(taken)
    assert len(set(taken)) == 2
    os.close(descriptor)
    checkpoints.end()


def test_a_key_that_others_can_read_is_in_health(config: Any) -> None:
    checkpoints = AuditCheckpoints(lambda: cast("Any", config))
    checkpoints.take()
    assert checkpoints.fact().state is HealthState.OK
    (config.state / "audit.key").chmod(0o644)
    checkpoints = AuditCheckpoints(lambda: cast("Any", config))
    checkpoints.take()
    assert checkpoints.fact().state is HealthState.DEGRADED
    assert "other users can read the key" in checkpoints.fact().why
    (config.state / "audit.key").chmod(0o600)
    checkpoints.take()
    assert checkpoints.fact().state is HealthState.OK


def test_a_file_that_was_changed_is_in_health(config: Any) -> None:
    checkpoints = AuditCheckpoints(lambda: cast("Any", config))
    checkpoints.take()
    (path,) = audit_folder.files(config.audit.folder)
    os.truncate(path, 1)
    checkpoints.take()
    assert f"the audit file {path.name} changed" in checkpoints.fact().why
    assert "crewgate audit verify" in checkpoints.fact().mend


def test_a_disk_that_fails_is_in_health(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    checkpoints = AuditCheckpoints(lambda: cast("Any", config))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        checkpoints.take()
    assert "not signed: No space left" in checkpoints.fact().why
    checkpoints.take()
    assert checkpoints.fact().state is HealthState.OK


def test_a_disk_that_hangs_is_in_health(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now, found = [0.0], []
    checkpoints = AuditCheckpoints(lambda: cast("Any", config), now=lambda: now[0])

    def hang(_: int) -> None:
        for seconds in (59.0, 61.0):
            now[0] = seconds
            found.append(checkpoints.fact().state)

    monkeypatch.setattr(os, "fdatasync", hang)
    checkpoints.take()
    assert found[:2] == [HealthState.OK, HealthState.DEGRADED]
    assert checkpoints.fact().state is HealthState.OK
