"""Runs the steps of a load with h2load (of nghttp2) instead of the bundled client.

h2load takes header fields as arguments only, so each user of the machine can read the token in the
list of processes while it runs. It verifies no certificate. Its times count from when it sends a
request.
"""

import re
import subprocess
import tempfile
from pathlib import Path
from shutil import which

from crewgate import limits
from crewgate.errors import LoadTestError
from crewgate.load_test.plan import Request, Shape, Step
from crewgate.load_test.result import StepResult
from crewgate.runtime.durable_files import create_file

PROGRAM = "h2load"
_FINISHED = re.compile(r"^finished in ([0-9.]+)(us|ms|s),", re.MULTILINE)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_MARGIN_SECONDS = 30.0  # to connect, and to write the times of all requests


class H2Load:
    """Runs steps one after the other, each with a process of its own."""

    def __init__(self, request: Request, shape: Shape) -> None:
        """Raise LoadTestError if h2load is not installed."""
        program = which(PROGRAM)
        if program is None:
            raise LoadTestError(
                "h2load is not installed: install it (Debian: nghttp2-client), "
                "or leave --client out"
            )
        self._program = program
        self._request = request
        self._shape = shape

    def run(self, step: Step) -> StepResult:
        """Run one step. Raises LoadTestError if h2load fails."""
        with tempfile.TemporaryDirectory(prefix="crewgate-bench-") as name:
            folder = Path(name)
            log = folder / "requests"
            output = self._output([self._program, *self._options(step, folder, log)], step)
            rows = log.read_text(encoding="ascii") if log.exists() else ""
        return _result(step, output, rows)

    def _options(self, step: Step, folder: Path, log: Path) -> list[str]:
        shape, request = self._shape, self._request
        words = ["-c", str(shape.connections), "-m", str(shape.streams), "-t", "1"]
        if step.rate:
            count = min(round(step.rate * step.seconds), limits.load_test_requests_max)
            words += ["-n", str(max(count, shape.connections))]
            words += [f"--rps={step.rate / shape.connections:g}"]
        elif step.requests:
            words += ["-n", str(step.requests)]
        else:
            words += ["-D", f"{round(step.seconds * 1e3)}ms"]
        for name, value in ((b":method", request.method.encode()), *request.fields):
            words += ["-H", f"{name.decode('ascii')}: {value.decode('ascii')}"]
        if request.body:
            body = folder / "body"
            create_file(body, request.body, 0o600)
            words += ["-d", str(body)]
        return [*words, f"--log-file={log}", request.target.url]

    def _output(self, command: list[str], step: Step) -> str:
        """Run h2load. An error never shows the command, which has the token."""
        seconds = step.seconds + limits.load_test_answer_seconds + _MARGIN_SECONDS
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            raise LoadTestError(f"h2load did not end within {seconds:g} s") from None
        if done.returncode:
            reason = done.stderr.strip() or done.stdout.strip()
            raise LoadTestError(f"h2load ended with status {done.returncode}: {reason[-500:]}")
        return done.stdout


def _result(step: Step, output: str, rows: str) -> StepResult:
    """Read the log. Its rows have a start time, a status (-1: lost), and microseconds."""
    result = StepResult(step.name, step.rate)
    for row in rows.splitlines():
        _, status, microseconds = row.split("\t")[:3]
        if int(status) <= 0:
            result.lost += 1
            continue
        result.statuses[int(status)] += 1
        result.times.append(int(microseconds) / 1e3)
    finished = _FINISHED.search(output)
    if finished is None:
        raise LoadTestError("h2load sent nothing: it did not reach the gateway")
    result.seconds = float(finished[1]) * _UNITS[finished[2]]
    return result
