"""What SIGKILL leaves of the sessions: each answer that a person has got holds."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crewgate.ui.login.sessions import Sessions

_PROGRAM = """
import random, sys
import trio
from pathlib import Path
from crewgate.ui.login.session import ProvenPerson
from crewgate.ui.login.sessions import Sessions

async def main():
    sessions, live, number = Sessions(Path(sys.argv[1])), [], 0
    while True:
        number += 1
        begun = sessions.begin(ProvenPerson(f"person/{number}", "login"), bytes(32))
        await sessions.save()
        print("begun", begun, flush=True)
        live.append(begun)
        if len(live) > 3:
            ended = live.pop(random.randrange(len(live)))
            sessions.end(sessions.find(ended), "signed-out")
            await sessions.save()
            print("ended", ended, flush=True)

trio.run(main)
"""


@pytest.mark.parametrize("seed", range(3))
def test_an_answer_outlives_the_process(tmp_path: Path, seed: int) -> None:
    """A login that was answered is there, and a logout that was answered is not undone."""
    path = tmp_path / "ui" / "sessions.json"
    chance = random.Random(seed)
    command = [sys.executable, "-c", _PROGRAM, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(chance.randrange(10, 60))]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.readlines()
    answers = [line.split() for line in lines if line.endswith("\n")]
    begun = {session_id for what, session_id in answers if what == "begun"}
    ended = {session_id for what, session_id in answers if what == "ended"}
    assert ended
    after = Sessions(path)
    assert not [each for each in ended if after.find(each) is not None]
    # One logout may have been on its way.
    lost = [each for each in begun - ended if after.find(each) is None]
    assert len(lost) <= 1
