from pathlib import Path

import pytest
import trio
from audit_archive import Archive, inline
from signed_audit import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "audit")


@pytest.fixture
def archive(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setattr(trio.to_thread, "run_sync", inline)
    return Archive(machine.folder, tmp_path / "archive")
