"""The `crewgate` command in processes of its own that need not import it anew.

A server process imports the command once and forks for each call, so that a call costs what the
command does and not a third of a second of imports. All else is as in a terminal: a process, its
environment, its folder, its output, its exit status.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from crewgate.cli import COMMANDS

# Besides the commands, what most of them import when they run.
_IMPORTED = (
    *(f"crewgate.cli.{name}" for name in COMMANDS),
    "crewgate.audit.query",
    "crewgate.issuer.gateway",
    "crewgate.issuer.proof",
    "crewgate.ledger.opening",
    "crewgate.link.owner",
    "crewgate.pki.announcing",
    "crewgate.pki.authority",
    "crewgate.pki.ending",
    "crewgate.supervisor.run",
    "crewgate.verifier.policy",
    "rich.tree",
)
_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload(list(_IMPORTED))


def crewgate(
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    stdin: str = "",
    seconds: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Run `crewgate ARGUMENTS` to its end; TimeoutExpired.

    `environment` is in place of this process's, `folder` of its working folder.
    """
    command = ["crewgate", *map(str, arguments)]
    with ExitStack() as stack:
        given, out, err = (stack.enter_context(tempfile.NamedTemporaryFile()) for _ in range(3))
        given.write(stdin.encode())
        given.flush()
        names = [given.name, out.name, err.name]
        place = dict(environment or os.environ), str(folder or Path.cwd())
        process = _fork.Process(target=_run, args=(command[1:], names, *place))
        process.start()
        process.join(seconds)
        status = process.exitcode
        if status is None:
            process.kill()
            process.join()
        said = out.read().decode(), err.read().decode()
        process.close()
    if status is None:
        raise subprocess.TimeoutExpired(command, seconds, *said)
    return subprocess.CompletedProcess(command, status, *said)


def _run(
    arguments: Sequence[str], files: Sequence[str], environment: Mapping[str, str], folder: str
) -> None:
    """In the new process."""
    for number, name in enumerate(files):
        descriptor = os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (_stream(number) for number in range(3))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    from crewgate.cli import main  # noqa: PLC0415 - the server process has it, others need it not

    main(list(arguments), prog_name="crewgate")


def _stream(number: int) -> IO[str]:
    mode = "r" if number == 0 else "w"
    return open(number, mode, encoding="utf-8", closefd=False)
