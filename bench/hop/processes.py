"""Processes of a run: started on one core, their CPU time, and their end.

A gateway is charged for the whole tree below the process that was started: workers, master, agent.
Reads /proc, so Linux only.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

CPUCLOCK_SCHED = 2  # of a process: include/linux/posix-timers.h
START_SECONDS = 120.0  # ContextForge first makes its database
END_SECONDS = 15.0
TOOLS_ABOVE = 10  # `crewgate init` puts its tool server so many ports above the agents


@contextmanager
def on_core(number: int) -> Iterator[None]:
    """What is started within stays on one of the cores that this process has."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[number % len(allowed)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def start(
    command: Sequence[str], core: int, log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A process on that core, whose words go to `log`; it ends when its stdin does, or by `end`."""
    with log.open("ab") as words, on_core(core):
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=words,
            stderr=words,
            env={**os.environ, **(environment or {})},
        )


def tree(root: int) -> list[int]:
    """The process and all below it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int(fields(int(entry.name))[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def fields(pid: int) -> list[str]:
    """/proc/PID/stat behind the name, which may hold anything: state, parent, ..."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of all their threads so far; ends the group if one of them is gone.

    By the clock that clock_getcpuclockid(3) names: nanoseconds, where /proc/PID/stat has ticks of
    10 ms.
    """
    try:
        return sum(time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED) for pid in pids)
    except OSError as error:
        raise SystemExit("bench: a gateway's process ended while it was measured") from error


def busiest(pids: Sequence[int]) -> int:
    """The one that has used most CPU: that which carries the requests."""
    return max(pids, key=lambda pid: cpu_seconds([pid]))


def resident_megabytes(pid: int, field: str = "VmRSS") -> float:
    """Of this process; `VmHWM`: the most that it ever was."""
    return status_kilobytes(pid, field) * 1024 / 1e6


def forget_peak(pids: Sequence[int]) -> None:
    """Let `VmHWM` begin anew: proc(5), clear_refs."""
    for pid in pids:
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def status_kilobytes(pid: int, field: str) -> int:
    """A size in /proc/PID/status; 0 if the process is gone or is a kernel thread."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return int(value.split()[0])
    return 0


def wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return when somebody listens; ends the run with the log's end if nobody does."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"bench: {log.stem} did not start: {log.read_text(errors='replace')[-500:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the process; SIGKILL to what is left of its tree after a while."""
    pids = tree(process.pid) if process.poll() is None else []
    if process.stdin is not None:
        process.stdin.close()
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS)
    parents = set(pids)
    for pid in pids[1:]:
        with suppress(OSError):
            if int(fields(pid)[1]) in parents | {1}:
                os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait()
