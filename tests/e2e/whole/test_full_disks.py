"""Disks that fail: nothing ends, what is revoked is in force, and it recovers alone.

Only another disk for the state folder takes a new start.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_process import Site
from failing_disks import outcome, trial_of
from power_disk import kill_disk, make, mounted, why_not
from small_disk import fill

from crewgate.errors import ServiceConnectionError

BRANCH = "00000000-0000-4000-8000-000000000001"


@pytest.fixture(autouse=True)
def loop_devices(tmp_path: Path) -> None:
    """They can be mounted here."""
    why = why_not(tmp_path)
    if why:
        pytest.skip(why)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A folder with a configuration, where a loop device can be mounted."""
    site = Site(tmp_path)
    site.state.mkdir()
    yield site
    site.end()


def until(what: Callable[[], bool]) -> None:
    """Wait for something of a process that may be away meanwhile."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if what():
                return
        except ServiceConnectionError:
            pass
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def log(site: Site) -> str:
    return (site.folder / "serve.log").read_text()


def test_an_agent_that_is_killed_on_a_full_disk_comes_up(site: Site, tmp_path: Path) -> None:
    """What was revoked without room is dead all the same, and on the disk once there is some."""
    with mounted(make(tmp_path / "disk.img"), site.state):
        serving = site.serve()
        until(lambda: site.status().ready)
        filling = fill(site.state)
        receipt = site.revoke(BRANCH, "article")
        assert (receipt.reach.applied_on, receipt.reach.enough) == (0, False)
        pid = site.status().pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: site.status().pid != pid)
        assert serving.poll() is None
        filling.unlink()
        until(lambda: site.status().ready)
        until(lambda: site.revoke(BRANCH, "article").reach.enough)
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(60) == 0
    assert "No space left on device; make room" in log(site)
    assert "Traceback" not in log(site)


def test_an_audit_whose_disk_dies_is_written_again_on_another(site: Site, tmp_path: Path) -> None:
    """No process has to start anew: only the folder counts."""
    folder = tmp_path / "audit"
    site.file.write_text(f'{site.file.read_text()}\n[audit]\nfolder = "{folder}"\n')
    with mounted(make(tmp_path / "disk.img"), folder) as device:
        serving = site.serve()
        until(lambda: site.status().ready)
        kill_disk(tmp_path / "disk.img", device)
        site.revoke(BRANCH, "article")
        until(lambda: "audit of agent: cannot write to" in log(site))
        assert site.status().pid > 0
        with mounted(make(tmp_path / "other.img"), folder):
            until(lambda: any(b"audit-recovered" in path.read_bytes()
                              for path in folder.glob("agent-*.jsonl")))  # fmt: skip
            serving.send_signal(signal.SIGTERM)
            assert serving.wait(60) == 0
    assert "Traceback" not in log(site)


def test_a_read_only_state_folder_is_told_and_well_after_a_new_start() -> None:
    """`status` says why; another disk with the same content takes the place of the first."""
    with trial_of("state") as trial:
        found = outcome(trial, "read-only", restarts=True, patience=120.0)
        assert "Traceback" not in (trial.site.folder / "serve.log").read_text()
    assert found.told_seconds is not None
    assert "Read-only file system" in found.words
    assert found.well_seconds is not None
