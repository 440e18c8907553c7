"""Runs a command while standard input is open: `python -m crewgate.demo.exit_with_parent CMD …`.

The kernel closes a pipe when its holder ends, in whatever way. So not even a SIGKILL of the demo
leaves a gateway behind. The code blocks, and knows nothing of the command.
"""

import contextlib
import os
import subprocess
import sys
import threading

from crewgate import limits

_CHUNK = 4096


def main(command: list[str]) -> int:
    """Run the command, end it when standard input ends, and return its exit status."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_stdin, args=(child,), daemon=True).start()
    return child.wait()


def _end_with_stdin(child: subprocess.Popen[bytes]) -> None:
    while os.read(sys.stdin.fileno(), _CHUNK):
        pass
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(limits.demo_stop_seconds)
    child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
