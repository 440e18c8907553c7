"""A document's commands, run as its reader would: one shell, command after command.

In a block `console`, a command stands behind `$ `, with `> ` before each further line of the
command. Below it stands its whole output, in which `…` is any text of a line, or any number of
lines if it has a line of its own. A block `sh` has commands alone. A block `python` or `toml` is a
file that the reader saves, if the text above it says "as `NAME`".

The shell starts in a stand-in for the reader's clone, whose `make setup` has nothing to do. In a
page, the ports of a gateway are those of `crewgate init`; a test replaces each by a port that no
other process has.
"""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from documents import blocks

from crewgate.demo.ports import PORTS_PER_BLOCK, reserve

_COMMAND_SECONDS_MAX = 120.0
_MARK = "-- status "
# Takes commands from a descriptor, each with a NUL behind it: they share variables and functions.
_SHELL = rf"""
while IFS= read -r -d '' command <&{{commands}}; do
    eval "$command" </dev/null {{commands}}<&-
    printf '\n{_MARK}%s\n' "$?"
done
"""
_SAVED_AS = re.compile(r"\bas `([\w.-]+)`")
_INIT = re.compile(r"^((?:\$ )?crewgate init (?!.*--port).+)$", re.MULTILINE)
# The ports of three gateways, the first of which is at the port of `crewgate init`.
_FIRST_PORTS = (8443, 9443, 10443)
_PORTS_EACH = 11
_PORT = re.compile(r"\b(?:8|9|10)4[45]\d\b")


class Step(NamedTuple):
    """A command of a document; `output` is what the document shows, None where it shows nothing."""

    line: int
    command: str
    output: str | None


def steps(text: str) -> Iterator[Step]:
    """The commands of a document, from the first to the last."""
    for block in blocks(text):
        if block.language == "console":
            yield from _console(block.content, block.line + 1)
        elif block.language == "sh":
            yield Step(block.line, f"set -e\n{block.content}set +e", None)
        elif block.language in {"python", "toml"} and (
            names := _SAVED_AS.findall(block.before[-300:])
        ):
            yield Step(block.line, f"cat > {names[-1]} <<'EOF'\n{block.content}EOF", "")


def _console(content: str, first: int) -> Iterator[Step]:
    for match in re.finditer(r"^\$ (.*\n(?:> .*\n)*)((?:(?!\$ ).*\n)*)", content, re.MULTILINE):
        command = match[1].replace("\n> ", "\n")
        yield Step(first + content.count("\n", 0, match.start()), command, match[2])


def shows(output: str, printed: str) -> bool:
    """Whether a command has printed what its document shows."""
    lines = []
    for line in output.strip().splitlines():
        if line.strip() == "…":
            lines.append(r"(?:.*\n)*")
        else:
            parts = [r" +".join(map(re.escape, re.split(" +", part))) for part in line.split("…")]
            lines.append(".*".join(parts) + r"[ \r]*\n")
    return (
        re.fullmatch("".join(lines), printed.strip() + "\n" if printed.strip() else "") is not None
    )


def run(document: Path, folder: Path, elsewhere: frozenset[str] = frozenset()) -> int:
    """Run a document's commands in `folder`, but for blocks that are `elsewhere`; their number.

    AssertionError at the first command that fails, or prints other text than the document shows.
    """
    number = 0
    with _shell(_clone(folder)) as shell:
        for step in steps(_at_free_ports(document.read_text(encoding="utf-8"))):
            if step.command.removeprefix("set -e\n").removesuffix("\nset +e") in elsewhere:
                continue
            printed = shell.printed(step)
            place = f"{document.name}, line {step.line}: {step.command.strip()}"
            assert step.output is None or shows(step.output, printed), (
                f"{place}\nshows\n{step.output}\nand prints\n{printed}"
            )
            number += 1
    return number


class _Shell:
    """A shell that waits for commands."""

    def __init__(self, commands: int, output: int) -> None:
        self._commands = commands
        self._output = output
        self._unread = ""

    def printed(self, step: Step) -> str:
        """Run a command that must end with status 0, and return what the command prints."""
        with suppress(BrokenPipeError):  # the shell has ended; what it printed says why
            os.write(self._commands, step.command.encode() + b"\0")
        printed, status = self._answer(step)
        assert status == 0, f"line {step.line}: status {status}: {step.command}\n{printed}"
        return printed

    def _answer(self, step: Step) -> tuple[str, int]:
        end = time.monotonic() + _COMMAND_SECONDS_MAX
        mark = re.compile(rf"\n{_MARK}(\d+)\n")
        while not (found := mark.search(self._unread)):
            ready, _, _ = select.select([self._output], [], [], max(0, end - time.monotonic()))
            data = os.read(self._output, 65_536) if ready else b""
            assert data, f"line {step.line} ends or stops the shell: {step.command}\n{self._unread}"
            self._unread += data.decode(errors="replace")
        printed = self._unread[: found.start()]
        self._unread = self._unread[found.end() :]
        return printed, int(found[1])


@contextmanager
def _shell(clone: Path) -> Iterator[_Shell]:
    """A shell in `clone`; whatever it started and left is killed."""
    path = f"{sys.prefix}/bin:{os.environ['PATH']}"
    environment = {"HOME": str(clone.parent), "PATH": path, "TERM": "dumb", "COLUMNS": "200"}
    commands, ours = os.pipe()
    process = subprocess.Popen(
        ["bash", "-c", _SHELL.format(commands=commands)], pass_fds=(commands,),
        cwd=clone, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    os.close(commands)
    assert process.stdout is not None
    try:
        yield _Shell(ours, process.stdout.fileno())
    finally:
        os.close(ours)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def _at_free_ports(text: str) -> str:
    first = reserve(len(_FIRST_PORTS))
    free = {
        str(port + number): str(first + index * PORTS_PER_BLOCK + number)
        for index, port in enumerate(_FIRST_PORTS)
        for number in range(_PORTS_EACH)
    }
    text = _PORT.sub(lambda match: free.get(match[0], match[0]), text)
    return _INIT.sub(rf"\1 --port {first}", text)


def _clone(folder: Path) -> Path:
    """A folder with the virtual environment of this interpreter, and nothing to set up."""
    clone = folder / "clone"
    clone.mkdir()
    (clone / ".venv").symlink_to(sys.prefix)
    (clone / "Makefile").write_text("setup:\n")
    return clone
