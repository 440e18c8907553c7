"""A guarded command ends with whoever holds the guard's standard input, however that ends."""

import signal
import subprocess
import sys

_GUARD = [sys.executable, "-m", "crewgate.demo.exit_with_parent", sys.executable, "-c"]
_WAIT = "import signal\nprint('up', flush=True)\nsignal.pause()"
_COUNT = "import sys\nsys.exit(7)"


def test_the_command_ends_when_standard_input_closes() -> None:
    """As a SIGKILL of the holder would close it; its output ends, so it has."""
    with subprocess.Popen(
        [*_GUARD, _WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as guard:
        assert guard.stdout is not None
        assert guard.stdout.readline() == "up\n"
        rest, _ = guard.communicate()  # closes standard input, then reads until nobody writes
        assert rest == ""
    assert guard.returncode == 256 - signal.SIGTERM


def test_the_status_is_the_commands() -> None:
    """A command that ends by itself is seen to."""
    with subprocess.Popen([*_GUARD, _COUNT], stdin=subprocess.PIPE) as guard:
        assert guard.wait() == 7
