"""The `crewgate` command, run to its end in a process of its own."""

import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import forked


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
    words = ["crewgate", *map(str, arguments)]
    with ExitStack() as stack:
        given, out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write(stdin.encode())
        given.seek(0)
        process = forked.start(
            forked.command,
            *arguments,
            streams=(given, out, err),
            environment=environment,
            folder=folder,
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        said = [(each.seek(0), each.read().decode())[1] for each in (out, err)]
    return subprocess.CompletedProcess(words, status, *said)
