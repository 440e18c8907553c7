"""One child process: started so that it cannot outlive us, restarted no faster than is useful.

Plain blocking code of a process with one thread. Knows nothing of what its child does.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from crewgate import limits
from crewgate.core.health import ComponentHealth, failed, ok
from crewgate.runtime.readiness import ReadinessListener

_PR_SET_PDEATHSIG = 1  # prctl(2)
_prctl = ctypes.CDLL(None).prctl


def bind_to(parent: int) -> Callable[[], None]:
    """What the child does before it becomes another program: die when `parent` dies.

    SIGKILL, so that a stopped child ends too and a new `serve` finds the table's lock free. The
    setting survives execve(2). If the parent died before it was made, nobody sends the signal:
    then getppid() differs.
    """

    def bind() -> None:
        if _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(1)

    return bind


def spawn(arguments: Sequence[str], keep: Sequence[int]) -> "subprocess.Popen[bytes]":
    """Start a program that dies with us, with the descriptors `keep`; OSError.

    It gets a process group of its own, so that Ctrl-C in a terminal reaches the supervisor alone,
    which then ends everybody in order.
    """
    return subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        pass_fds=keep,
        process_group=0,
        preexec_fn=bind_to(os.getpid()),  # noqa: PLW1509  -- we have one thread only
    )


def ended(status: int) -> str:
    """How a process has ended, by its exit status (negative: the signal)."""
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:  # of the real-time signals Python names the first and the last alone
        return f"signal {-status}"


class Child:
    """A process that is to run: its arguments, and the times of its last life."""

    def __init__(self, name: str, arguments: Sequence[str]) -> None:
        self.name = name
        self._arguments = list(arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._wait = 0.0
        self._deaths: deque[float] = deque(maxlen=limits.health_deaths_max)
        self._status = 0  # of the last end
        self.due = 0.0  # when to start it again (monotonic seconds), if it does not run

    @property
    def running(self) -> bool:
        """It was started and has not been seen to end."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Its process id; -1 while it does not run."""
        return self._process.pid if self._process else -1

    def start(self, now: float, *more: str, keep: Sequence[int] = ()) -> None:
        """Start it, with `more` arguments and the descriptors `keep`; OSError."""
        self._started = now
        self._process = spawn([*self._arguments, *more], keep)

    def ended(self, now: float) -> int | None:
        """Its exit status (negative: the signal) once it has ended; None while it runs.

        Sets when it is due again: at once after a long life, later and later after short ones. An
        end with EX_TEMPFAIL does not count for `health`: it says that the next start may be good.
        """
        if self._process is None:
            return None
        status = self._process.poll()
        if status is None:
            return None
        self._process = None
        self._status = status
        if status != os.EX_TEMPFAIL:
            self._deaths.append(now)
        if now - self._started >= limits.restart_forgiven_seconds:
            self._wait = 0.0
        self.due = now + self._wait
        self._wait = min(
            max(2 * self._wait, limits.restart_seconds_min), limits.restart_seconds_max
        )
        return status

    def successor(self) -> "Child":
        """Another process of the same kind, which has not been started."""
        return Child(self.name, self._arguments)

    def health(self, now: float, *, refuses: bool) -> ComponentHealth:
        """Whether it keeps ending; `refuses`: no calls are answered without it."""
        deaths = self._deaths
        if len(deaths) < limits.health_deaths_max or now - deaths[0] > limits.health_deaths_seconds:
            return ok(self.name)
        why = f"it keeps ending: {limits.health_deaths_max} times in {now - deaths[0]:.0f} s"
        mend = "see the log of `crewgate serve` for its reason"
        return failed(self.name, f"{why}, last with {ended(self._status)}", mend, refuses=refuses)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self) -> None:
        """Until it has ended; after a SIGKILL that is soon."""
        if self._process is not None:
            self._process.wait()
            self._process = None


class DrainingChildren:
    """Children that others have replaced: each ends by itself, or is killed at its deadline."""

    def __init__(self) -> None:
        self._deadlines: list[tuple[Child, float]] = []

    def __iter__(self) -> Iterator[tuple[Child, float]]:
        return iter(self._deadlines)

    def __len__(self) -> int:
        return len(self._deadlines)

    def add(self, child: Child, deadline: float) -> None:
        """From now on; one that has ended already has left."""
        if child.running:
            self._deadlines.append((child, deadline))

    def reap(self, now: float) -> None:
        """Forget those that have ended, and kill those whose time is over."""
        for child, deadline in self._deadlines:
            if child.ended(now) is None and now > deadline:
                child.send(signal.SIGKILL)
        self._deadlines = [each for each in self._deadlines if each[0].running]


def begin(child: Child, word: ReadinessListener, *more: str, sockets: Sequence[int] = ()) -> None:
    """Start a child that says over `word` how far it is."""
    arguments = ("--ready", str(word.theirs), *more)
    child.start(time.monotonic(), *arguments, keep=(word.theirs, *sockets))
    word.started()


def python(module: str, path: Path, *more: str) -> list[str]:
    """The command that runs a module on a configuration."""
    # -P: Python does not import a file named trio.py in the present folder.
    return [sys.executable, "-P", "-m", module, "-c", str(path), *more]


def sockets_of(descriptors: Iterable[int]) -> list[str]:
    """How a worker hears of the sockets that are kept for it."""
    return [word for each in descriptors for word in ("--socket", str(each))]


def exit_text(status: int) -> str:
    """How a process has ended, as a clause."""
    if status < 0:
        return f"was ended by {ended(status)}"
    return f"ended with {ended(status)}" if status else "ended in order"
