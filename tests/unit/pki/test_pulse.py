"""A pulse beats while its process lives, and nobody else's is touched by it."""

import subprocess
import sys
from pathlib import Path

import pytest

from crewgate.errors import AuthorityError
from crewgate.pki.pulse import Pulse, beats


def test_each_life_has_its_own(tmp_path: Path) -> None:
    """One that is held beats, its neighbours do not; it is held once; it stops."""
    register = tmp_path / "issued.sqlite"
    pulse, other = Pulse(register), Pulse(register)
    pulse.begin(7)
    assert [beats(register, number) for number in (6, 7, 8)] == [False, True, False]
    with pytest.raises(AuthorityError, match="life 7"):
        other.begin(7)
    other.begin(8)
    pulse.stop()
    assert [beats(register, number) for number in (6, 7, 8)] == [False, False, True]
    other.stop()


def test_it_stops_with_its_process(tmp_path: Path) -> None:
    """However that ends, and although a child of it lives on."""
    register = tmp_path / "issued.sqlite"
    code = (
        "import subprocess, sys; from pathlib import Path; from crewgate.pki.pulse import Pulse\n"
        f"pulse = Pulse(Path({str(register)!r})); pulse.begin(1)\n"
        "child = subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = process.stdout.readline().strip()
        assert beats(register, 1)
        process.kill()
        process.wait()
        assert not beats(register, 1)
        subprocess.run(["kill", "-9", child], check=True)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(AuthorityError, match=r"lives\.lock: cannot be opened"):
        beats(tmp_path / "no" / "issued.sqlite", 1)
