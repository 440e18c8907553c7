"""CMD as a process: what it is given, how its end is told, and that nothing of it is left.

In a process of their own, since a subreaper stays one.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from landlock import needs_domains

from crewgate import limits
from crewgate.sidecar.command_supervisor import CommandSupervisor, environment
from crewgate.sidecar.user import CommandUser

RUN = """
import json, os, signal, sys, trio
from crewgate import limits
from crewgate.sidecar.command_supervisor import (
    CommandSupervisor, become_subreaper, confine_signals)
from crewgate.runtime.memory_protection import disable_dumping
from crewgate.sidecar.user import present

limits.run_end_seconds = float(sys.argv[1])

async def main():
    offspring = CommandSupervisor(is_confined=confine_signals())
    disable_dumping()
    become_subreaper()
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)
    with trio.open_signal_receiver(signal.SIGCHLD) as signals:
        offspring.start(sys.argv[3:], present(), os.environ)
        async with trio.open_nursery() as nursery:
            async def reap():
                async for _ in signals:
                    offspring.reap()
            nursery.start_soon(reap)
            if sys.argv[2] == "end":
                await trio.to_thread.run_sync(sys.stdin.readline)
            else:
                while offspring.status is None:
                    await trio.sleep(0.01)
            have_ended = await offspring.end()
            nursery.cancel_scope.cancel()
    print(json.dumps({"status": offspring.status, "ended": have_ended,
                      "dumpable": __import__("ctypes").CDLL(None).prctl(3, 0, 0, 0, 0)}))

trio.run(main)
"""


def supervised(*command: str, until: str = "over", patience: float = 60.0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(patience), until, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def outcome(process: "subprocess.Popen[str]") -> tuple[list[str], dict[str, object]]:
    out, _ = process.communicate("\n", timeout=60)
    *lines, last = out.splitlines()
    return lines, json.loads(last)


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
def test_how_it_ended_is_told(script: str, status: int) -> None:
    """Its exit status, or 128 and the signal, as shells say it."""
    assert outcome(supervised("sh", "-c", script))[1] == {
        "status": status,
        "ended": True,
        "dumpable": 0,
    }


@pytest.mark.parametrize(
    ("command", "status"), [("no-such-command", 127), ("/no/such/command", 127), ("/tmp", 126)]
)
def test_what_cannot_be_run(command: str, status: int) -> None:
    """127 for what is not there, 126 for what is no program (POSIX)."""
    assert outcome(supervised(command))[1]["status"] == status


def test_it_inherits_nothing_but_the_first_three() -> None:
    """A descriptor that was left inheritable does not pass; signals are as a shell wants them."""
    script = (
        "ls /proc/$$/fd; cut -d' ' -f6 /proc/$$/stat; echo $$; "
        # Not in a child: a shell blocks signals while it starts one.
        "exec grep -E 'SigIgn|SigBlk|NoNewPrivs' /proc/self/status"
    )
    lines, _ = outcome(supervised("sh", "-c", script))
    *descriptors, session, pid, no_new, blocked, ignored = lines
    assert [each for each in descriptors if each != "10"] == ["0", "1", "2"]
    assert {no_new.split()[1], blocked.split()[1], ignored.split()[1]} <= {
        "1",
        "0000000000000000",
        "0000000000000001",  # SIGHUP, which nohup has the tests themselves ignore
    }
    assert session == pid  # a session of its own


def test_the_kernel_ends_cmd_before_the_sidecar_when_memory_ends() -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    lines, _ = outcome(supervised("cat", "/proc/self/oom_score_adj"))
    assert int(lines[0]) == min(own + 200, 1000)


def test_patience_is_bounded() -> None:
    """SIGTERM is ignored by a child that also left its session and its parent: SIGKILL ends it."""
    script = (
        "trap '' TERM; (setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' &); "
        "while :; do sleep 1; done"
    )
    process = supervised("sh", "-c", script, until="end", patience=0.1)
    assert process.stdout is not None
    daemon = int(process.stdout.readline())
    lines, end = outcome(process)
    assert (lines, end["status"], end["ended"]) == ([], 137, True)
    assert not Path(f"/proc/{daemon}").exists()


@needs_domains
def test_a_process_that_forks_again_and_again_is_ended() -> None:
    """No list of processes has it: when the list is read, it has another pid."""
    again = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "end = time.monotonic() + 240\n"
        "for _ in range(3): os.fork()\n"
        "while time.monotonic() < end and not os.fork(): pass\n"
        "os._exit(0)"
    )
    process = supervised(sys.executable, "-ISc", again, patience=0.1)
    # The output ends with the last process that has it: long before these end by themselves, but a
    # busy machine may give the supervisor little of its time.
    said = process.communicate(timeout=180)[0]
    assert json.loads(said) == {"status": 0, "ended": True, "dumpable": 0}


def test_other_tasks_run_while_processes_end_without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call reaps a bounded number of children, and asks for the next call by a signal."""
    reaped: list[int] = []
    raised: list[int] = []
    monkeypatch.setattr(os, "waitid", lambda *_: SimpleNamespace(si_pid=7))
    monkeypatch.setattr(os, "waitpid", lambda pid, _: reaped.append(pid))
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    CommandSupervisor().reap()
    assert reaped == [7] * limits.sidecar_reap_max
    assert raised == [signal.SIGCHLD]
    monkeypatch.setattr(os, "waitid", lambda *_: None)
    CommandSupervisor().reap()
    assert raised == [signal.SIGCHLD]


def test_a_child_dies_with_its_supervisor() -> None:
    """SIGKILL of the supervisor is SIGKILL of CMD, by the kernel."""
    process = supervised("sh", "-c", "echo $$; exec sleep 600", until="end")
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    watch = os.pidfd_open(pid)
    process.kill()
    process.wait()
    found = __import__("select").select([watch], [], [], 60)[0]
    os.close(watch)
    process.communicate()
    assert found


def test_what_cmd_finds_in_its_environment() -> None:
    """The supervisor's variables, where its door is, and its own user's if it has one."""
    own = {"PATH": "/bin", "HOME": "/root", "USER": "root", "CREWGATE_SOCKET": "old"}
    given = (bytes(16), Path("/run/x/sock"), "http://gw:1", own)
    ours = environment(CommandUser(os.geteuid(), 0, "root", "/root"), *given)
    assert ours == own | {
        "CREWGATE_SOCKET": "/run/x/sock",
        "CREWGATE_GATEWAY": "http://gw:1",
        "CREWGATE_INSTANCE": "0" * 32,
    }
    theirs = environment(CommandUser(70_000, 70_000, "crewgate-70000", "/"), *given)
    assert {key: theirs[key] for key in ("HOME", "USER", "LOGNAME")} == {
        "HOME": "/",
        "USER": "crewgate-70000",
        "LOGNAME": "crewgate-70000",
    }
