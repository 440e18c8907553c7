"""Processes that run Crewgate's programs without importing them anew.

A server process imports them once and forks for each, so that a start costs what the program does
and not half a second of imports; the tests start hundreds. All else is as of a program that was
executed: arguments (also in /proc/PID/cmdline), environment, folder, descriptors, process group,
signals and exit status. The tests of `serve`, those in other networks and the demo execute
`python -m crewgate …` itself.
"""

import ctypes
import fcntl
import gc
import logging
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import pairwise
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

from crewgate.cli import COMMANDS
from crewgate.cli import main as cli
from crewgate.supervisor import child

# Besides the commands, what they and the programs that `serve` starts import when they run.
_IMPORTED = (
    *(f"crewgate.cli.commands.{name}" for name in COMMANDS),
    "crewgate.agent.cluster.cluster",
    "crewgate.agent.main",
    "crewgate.agent.budget.shared_ledger_tasks",
    "crewgate.audit.queries",
    "crewgate.control.main",
    "crewgate.gateway.worker.main",
    "crewgate.issuer.branches.local_gateway",
    "crewgate.issuer.parent_tokens",
    "crewgate.ledger.factory",
    "crewgate.ipc.admin_client",
    "crewgate.ca.revocation_propagation",
    "crewgate.ca.authority",
    "crewgate.ca.ocsp.client_cert_checker",
    "crewgate.lifecycle.orchestrator_decommission",
    "crewgate.sidecar.run",
    "crewgate.supervisor.serve",
    "crewgate.policy.loader",
    # And what servers of tools do.
    "h11",
    "rich.tree",
)
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(list(_IMPORTED))
_fork = multiprocessing.get_context("fork")


class Forked:
    """A process with the face of `subprocess.Popen`."""

    def __init__(self, process: BaseProcess, *ours: IO[bytes] | None) -> None:
        self.stdin, self.stdout, self.stderr = ours or (None, None, None)
        process.start()
        assert process.pid is not None
        self._process, self.pid = process, process.pid

    def poll(self) -> int | None:
        """The exit status (negative: the signal); None while it runs."""
        return self._process.exitcode

    @property
    def returncode(self) -> int | None:
        """The same."""
        return self.poll()

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended; TimeoutExpired."""
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # the server process knows of its end before us
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class _Handed:
    """A descriptor that another process gets as a number of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __reduce__(self) -> Any:
        return _received, (DupFd(self._descriptor),)


def _received(handed: Any) -> int:
    received: int = handed.detach()
    return received


def start(
    program: Callable[[Sequence[str]], object],
    *arguments: object,
    streams: Sequence[IO[Any] | int | None] = (None, None, None),
    keep: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Forked:
    """Call `program(ARGUMENTS)` in a process; it says with SystemExit how it ends.

    `streams` are its standard input, output and error: where there is None, it has ours; where
    there is PIPE, our end is in the process's attribute of that name. It keeps the descriptors
    `keep` and no other. `environment` is in place of this process's, `folder` of its working
    folder.
    """
    with ExitStack() as theirs:
        given, ours = _opened(streams, theirs)
        handed = {number: _Handed(each) for number, each in (given | {n: n for n in keep}).items()}
        words = [str(argument) for argument in arguments]
        place = dict(os.environ if environment is None else environment), str(folder or Path.cwd())
        process = _server.Process(target=_begin, args=(program, words, handed, *place))
        return Forked(process, *ours)


def _opened(
    streams: Sequence[IO[Any] | int | None], theirs: ExitStack
) -> tuple[dict[int, int], list[IO[bytes] | None]]:
    """The descriptors that a process gets as 0, 1 and 2, and our ends of those that are pipes."""
    given: dict[int, int] = {}
    ours: list[IO[bytes] | None] = [None, None, None]
    for number, each in enumerate(streams):
        if each == subprocess.PIPE:
            ends = os.pipe() if number == 0 else os.pipe()[::-1]
            given[number], mine = ends
            theirs.callback(os.close, given[number])
            mode = "rb" if number else "wb"
            ours[number] = open(mine, mode, buffering=0)  # noqa: PTH123, SIM115 - ours to close
        else:
            given[number] = number if each is None else each.fileno()
    return given, ours


def command(arguments: Sequence[str]) -> None:
    """`crewgate ARGUMENTS`; a program for `start`."""
    cli(list(arguments), prog_name="crewgate")


def module(arguments: Sequence[str]) -> None:
    """`python -m MODULE ARGUMENTS`; a program for `start`."""
    sys.argv = list(arguments)
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def _begin(
    program: Callable[[Sequence[str]], object],
    words: Sequence[str],
    descriptors: Mapping[int, int],
    environment: Mapping[str, str],
    folder: str,
) -> None:
    """In the new process."""
    _have_only(descriptors)
    sys.stdin, sys.stdout, sys.stderr = (_stream(number) for number in range(3))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    _be_called([program.__name__, *words])
    child.spawn = _spawn  # type: ignore[assignment]  # `serve` and what stands in for it
    gc.freeze()  # what is shared with its parent and children stays shared
    program(words)


def _spawn(arguments: Sequence[str], keep: Sequence[int], variables: Mapping[str, str]) -> Forked:
    """What `crewgate.supervisor.child` executes, from the modules that are here."""
    return Forked(_fork.Process(target=_be_child, args=(arguments, keep, variables, os.getpid())))


def _be_child(
    arguments: Sequence[str], keep: Sequence[int], variables: Mapping[str, str], parent: int
) -> None:
    """In the new process: PYTHON -P -m MODULE …."""
    os.environ.update(variables)
    null = os.open(os.devnull, os.O_RDONLY)
    _have_only({0: null, 1: 1, 2: 2} | {number: number for number in keep})
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    child.bind_to(parent)()
    logging.getLogger().handlers.clear()  # the log of `serve`
    _be_called(arguments)
    module(arguments[arguments.index("-m") + 1 :])


def _have_only(descriptors: Mapping[int, int]) -> None:
    """Have these descriptors under those numbers, and no others."""
    above = 1 + max(descriptors)
    held = {n: fcntl.fcntl(each, fcntl.F_DUPFD, above) for n, each in descriptors.items()}
    for number, each in held.items():
        os.dup2(each, number, inheritable=True)
    numbers = [-1, *sorted(descriptors), os.sysconf("SC_OPEN_MAX")]
    for before, after in pairwise(numbers):
        if before + 1 < after:  # Python 3.11 takes an empty range for all numbers
            os.closerange(before + 1, after)


def _stream(number: int) -> IO[str]:
    mode = "r" if number == 0 else "w"
    return open(number, mode, buffering=1, encoding="utf-8", closefd=False)


def _be_called(words: Sequence[str]) -> None:
    """Have these words in /proc/PID/cmdline, as far as those of the server process had room."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    first, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, proc_pid_stat(5)
    text = b"".join(word.encode() + b"\0" for word in words)[: end - first - 1]
    ctypes.memmove(first, text.ljust(end - first, b"\0"), end - first)
