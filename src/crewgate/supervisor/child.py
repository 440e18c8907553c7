"""A child process of the supervisor that cannot outlive it and is restarted with a backoff.

Blocks; for a process with one thread. Independent of what the child does.
"""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from crewgate import limits
from crewgate.core.health import ComponentHealth, failed, ok
from crewgate.errors import CrewgateError
from crewgate.metrics.memory import MetricsMemory
from crewgate.runtime.durable_files import describe
from crewgate.runtime.readiness import ReadinessListener

_log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1  # prctl(2)
_prctl = ctypes.CDLL(None).prctl


def bind_to(parent: int) -> Callable[[], None]:
    """Return what the child runs before execve(2): have the kernel kill it when `parent` dies.

    The signal is SIGKILL, so that a stopped child ends too and a new `serve` finds the table's lock
    free. The setting survives execve(2). If the parent died before the setting was made, the kernel
    sends no signal; getppid() shows that case.
    """

    def bind() -> None:
        if _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(1)

    return bind


def spawn(
    arguments: Sequence[str], keep: Sequence[int], variables: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """Start a program that inherits the descriptors `keep` and dies with this process; OSError.

    It gets the environment of this process, and `variables`.

    It gets its own process group, so that Ctrl-C in a terminal reaches only the supervisor, which
    then ends all processes in order.
    """
    return subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        pass_fds=keep,
        env={**os.environ, **variables},
        process_group=0,
        preexec_fn=bind_to(os.getpid()),  # noqa: PLW1509 - this process has one thread
    )


class Child:
    """A process that must run: its arguments, its present process, and when it starts again.

    Each process gets a shard of `metrics`, which keeps its counts after its end.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], metrics: MetricsMemory | None = None
    ) -> None:
        self.name = name
        self._metrics = metrics
        self._shard: int | None = None
        self._arguments = list(arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._backoff = 0.0  # seconds
        self._deaths: deque[float] = deque(maxlen=limits.health_deaths_max)
        self._status = 0  # the last exit status
        self._is_asked_to_end = False
        self.due = 0.0  # when to start it again (monotonic seconds), if it does not run

    @property
    def running(self) -> bool:
        """Whether it was started and `ended` has not reported its end."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The process id; -1 while it does not run."""
        return self._process.pid if self._process else -1

    @property
    def is_asked_to_end(self) -> bool:
        """Whether this process has sent it a signal since its last start."""
        return self._is_asked_to_end

    def start(self, now: float, *more: str, keep: Sequence[int] = ()) -> None:
        """Start it, with `more` arguments and the inherited descriptors `keep`; OSError."""
        was_lost = bool(self._started) and not self._is_asked_to_end
        self._started, self._is_asked_to_end = now, False
        variables: dict[str, str] = {}
        if self._metrics is not None:
            self._shard = self._metrics.assign(self.name)
            keep = (*keep, self._metrics.descriptor)
            variables = self._metrics.variables(self._shard)
            self._metrics.started(self.name, was_lost=was_lost)
        try:
            self._process = spawn([*self._arguments, *more], keep, variables)
        except OSError:
            self._release_shard()
            raise

    def ended(self, now: float) -> int | None:
        """Return the exit status (negative: the signal) once it has ended; None while it runs.

        Sets `due`: at once after a long life, with a growing delay after short ones. An end with
        EX_TEMPFAIL does not count for `health`: the next start may succeed. An end that `send`
        asked for counts neither for `health` nor for the delay.
        """
        if self._process is None:
            return None
        status = self._process.poll()
        if status is None:
            return None
        self._process = None
        self._release_shard()
        self._status = status
        if self._is_asked_to_end:
            self.due = now
            return status
        if status != os.EX_TEMPFAIL:
            self._deaths.append(now)
        if now - self._started >= limits.restart_forgiven_seconds:
            self._backoff = 0.0
        self.put_off(now)
        return status

    def put_off(self, now: float) -> None:
        """Set `due`, with a delay that grows each time."""
        self.due = now + self._backoff
        self._backoff = min(
            max(2 * self._backoff, limits.restart_seconds_min), limits.restart_seconds_max
        )

    def successor(self) -> "Child":
        """Return a child with the same name and arguments, not started yet."""
        return Child(self.name, self._arguments, self._metrics)

    def health(self, now: float, *, refuses: bool) -> ComponentHealth:
        """Return failed if it keeps ending; `refuses`: no calls are answered without it."""
        deaths = self._deaths
        if len(deaths) < limits.health_deaths_max or now - deaths[0] > limits.health_deaths_seconds:
            return ok(self.name)
        why = f"it keeps ending: {limits.health_deaths_max} times in {now - deaths[0]:.0f} s"
        mend = "see the log of `crewgate serve` for its reason"
        return failed(
            self.name, f"{why}; the last one {exit_text(self._status)}", mend, refuses=refuses
        )

    def send(self, number: signal.Signals) -> None:
        """Tell it to end by a signal, if it runs."""
        if self._process is not None:
            self._is_asked_to_end = True
            self._process.send_signal(number)

    def discard(self) -> None:
        """Kill it, if it still runs: it was to replace another process, and is not ready."""
        if self.running and self.ended(time.monotonic()) is None:
            _log.warning("killing the new %s: it did not become ready", self.name)
            self.send(signal.SIGKILL)
            self.wait()

    def wait(self) -> None:
        """Block until it has ended; after a SIGKILL that is soon."""
        if self._process is not None:
            self._process.wait()
            self._process = None
            self._release_shard()

    def _release_shard(self) -> None:
        if self._metrics is not None and self._shard is not None:
            self._metrics.release(self._shard, self.name)
            self._shard = None


class DrainingChildren:
    """Replaced children: each ends by itself, or is killed at its deadline (monotonic seconds)."""

    def __init__(self) -> None:
        self._deadlines: list[tuple[Child, float]] = []

    def __iter__(self) -> Iterator[Child]:
        return (child for child, _ in self._deadlines)

    def __len__(self) -> int:
        return len(self._deadlines)

    def add(self, child: Child, deadline: float) -> None:
        """Wait for `child` until `deadline`, if it still runs."""
        if child.running:
            self._deadlines.append((child, deadline))

    def reap(self, now: float) -> None:
        """Remove children that have ended, and kill those whose deadline has passed."""
        for child, deadline in self._deadlines:
            if child.ended(now) is None and now > deadline:
                child.send(signal.SIGKILL)
        self._deadlines = [each for each in self._deadlines if each[0].running]


def begin(
    child: Child, readiness: ReadinessListener, *more: str, sockets: Sequence[int] = ()
) -> None:
    """Start a child that reports over `readiness` how far it has started."""
    arguments = ("--ready", str(readiness.theirs), *more)
    child.start(time.monotonic(), *arguments, keep=(readiness.theirs, *sockets))
    readiness.started()


def python(module: str, path: Path, *more: str) -> list[str]:
    """Return the command line that runs a module on a configuration file."""
    # -P: Python does not import a file named trio.py in the current folder.
    return [sys.executable, "-P", "-m", module, "-c", str(path), *more]


def socket_arguments(descriptors: Iterable[int]) -> list[str]:
    """Return the arguments that pass listening sockets to a child."""
    return [argument for each in descriptors for argument in ("--socket", str(each))]


def error_text(error: CrewgateError | OSError) -> str:
    """Return an error that kept a process from its start or its work, as a sentence."""
    return describe(error) if isinstance(error, OSError) else str(error)


def exit_text(status: int) -> str:
    """Return how a process has ended, as a clause without a subject."""
    if status >= 0:
        return f"ended with status {status}" if status else "ended normally"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        # Python has names only for the first and the last real-time signal.
        name = f"signal {-status}"
    return f"was ended by {name}"
