"""`serve` waits for what may come by itself, says so, and comes up when it is there."""

import os
import signal
import subprocess
import time
from pathlib import Path

from agent_process import COMMAND, Site

STUB = """
import os, pathlib, sys, time
tries = pathlib.Path(sys.argv[sys.argv.index("-c") + 1]).with_name("tries")
tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
if len(tries.read_text()) < 3:
    sys.stderr.write("agent: no room\\n")
    sys.exit(os.EX_TEMPFAIL)
os.write(int(sys.argv[sys.argv.index("--ready") + 1]), b"ready")
time.sleep(60)
"""
SERVE = """
import sys
from pathlib import Path
from crewgate.runtime.process_log import ProcessLog
from crewgate.supervisor.serve import Supervisor
with ProcessLog("serve"):
    sys.exit(Supervisor(Path(sys.argv[1]), agent="stub_waiting_agent").run())
"""


def test_a_ledger_s_server_that_is_away_is_waited_for(site: Site) -> None:
    """It says where it looks, and ends in order while it waits."""
    site.file.write_text(
        site.file.read_text() + '\n[ledger]\nurl = "postgresql://nobody@127.0.0.1:1/ledger"\n'
    )
    command = [*COMMAND, "serve", "-c", str(site.file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as serving:
        assert serving.stderr is not None
        lines = [serving.stderr.readline() for _ in range(5)]  # the first one is the start
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(30) == 0
    assert sum("127.0.0.1" in line for line in lines) == 2, lines
    assert sum("the agent cannot start yet; it starts again in" in line for line in lines) == 2


def test_a_start_that_lacks_room_is_made_again_until_there_is(site: Site, tmp_path: Path) -> None:
    """Here the third start succeeds; no person has to type anything."""
    (tmp_path / "stub_waiting_agent.py").write_text(STUB)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": ""}
    command = [COMMAND[0], "-c", SERVE, str(site.file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as serving:
        tries = site.file.with_name("tries")
        while serving.poll() is None and (not tries.exists() or len(tries.read_text()) < 3):
            time.sleep(0.05)
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(60) == 0
        assert serving.stderr is not None
        said = serving.stderr.read()
    assert said.count("the agent cannot start yet") == 2
    assert "before it was ready" not in said


def test_an_agent_that_cannot_start_is_told_of(site: Site) -> None:
    """Its own line says why, and ours that this was the end."""
    site.state.write_text("a file in the place of the folder")
    command = [*COMMAND, "serve", "-c", str(site.file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    _, first, last = done.stderr.strip().splitlines()
    assert str(site.state) in first
    assert "ERROR serve: the agent ended with status 2 before it was ready" in last
