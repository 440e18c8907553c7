"""A pulse beats while its process lives, and nobody else's is touched by it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crewgate.ca.key_files import locked
from crewgate.errors import CAError
from crewgate.lifecycle.liveness_lock import LivenessLock, is_held


def test_each_life_has_its_own(tmp_path: Path) -> None:
    """One that is held beats, its neighbours do not; it is held once; it stops."""
    register = tmp_path / "issued.sqlite"
    register.touch()
    pulse, other = LivenessLock(register), LivenessLock(register)
    pulse.acquire(7)
    assert [is_held(register, number) for number in (6, 7, 8)] == [False, True, False]
    with pytest.raises(CAError, match="run 7 cannot be locked"):
        other.acquire(7)
    other.acquire(8)
    pulse.stop()
    assert [is_held(register, number) for number in (6, 7, 8)] == [False, False, True]
    other.stop()


def test_it_stops_with_its_process(tmp_path: Path) -> None:
    """However that ends, and although a child of it lives on."""
    register = tmp_path / "issued.sqlite"
    register.touch()
    code = (
        "import subprocess, sys; from pathlib import Path\n"
        "from crewgate.lifecycle.liveness_lock import LivenessLock\n"
        f"pulse = LivenessLock(Path({str(register)!r})); pulse.acquire(1)\n"
        "child = subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = process.stdout.readline().strip()
        assert is_held(register, 1)
        process.kill()
        process.wait()
        assert not is_held(register, 1)
        subprocess.run(["kill", "-9", child], check=True)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(CAError, match=r"lives\.lock: cannot be opened"):
        is_held(tmp_path / "no" / "issued.sqlite", 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_of_the_register_can_ask_after_root_was_first(tmp_path: Path) -> None:
    """`serve` may be another user's than `run`; the lock of the list is given away as well."""
    register, folder = tmp_path / "issued.sqlite", tmp_path
    register.touch()
    os.chown(register, 65_534, 65_533)
    LivenessLock(register).stop()
    with locked(folder / "crl.lock", register):
        pass
    for name in ("lives.lock", "crl.lock"):
        status = (folder / name).stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (65_534, 65_533, 0o600)
    os.chown(folder / "lives.lock", 0, 0)  # what stands there already stays whose it is
    LivenessLock(register).stop()
    assert (folder / "lives.lock").stat().st_uid == 0


def test_one_that_may_not_be_opened_says_how_to_mend_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's, as an older version left it."""

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    register = tmp_path / "issued.sqlite"
    register.touch()
    LivenessLock(register).stop()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(CAError, match=r"lives\.lock: .*; give user \d+ the right to it"):
            is_held(register, 1)
