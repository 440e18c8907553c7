"""The sidecar of a sub-agent as a process, without a sub-agent."""

import socket
import subprocess
import sys

import pytest

MAIN = """
import sys
from crewgate.sidecar import sub_agent

sub_agent.confine_signals = lambda: sys.argv[2] == "confined"
sys.exit(sub_agent.main(int(sys.argv[1])))
"""


@pytest.mark.parametrize("how", ["confined", "free"])
def test_a_kernel_without_domains_is_told_of(how: str) -> None:
    """Without an orchestrator the sidecar ends at once; it has said what the kernel lacks."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    with theirs:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, str(theirs.fileno()), how],
            pass_fds=[theirs.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert ("no Landlock domains for signals" in done.stderr) == (how == "free"), done.stderr
