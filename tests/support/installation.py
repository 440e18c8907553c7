"""A whole gateway as a stranger has it: `crewgate init`, `serve`, a tool's server, clients."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import forked
import httpx
import msgspec
import tool_server
from command_process import crewgate
from forked import Forked

from crewgate.demo.ports import reserve
from crewgate.issuer import Orchestrator
from crewgate.issuer.extensions.extension_decider import Decide

COMMAND = [sys.executable, "-m", "crewgate.cli"]
STREAM = """
[tool."search.stream"]
method = "GET"
path = "/stream"
upstream = "tools"
price = "{price}"
"""
# `make test-ordinary` says false: then Python carries every call.
IS_STRAIGHT = os.environ.get("CREWGATE_TEST_STRAIGHT", "true") == "true"
# What is tested is neither how fast a disk is, nor how large a table: a small one is made at once,
# and the agent, which looks at all of it again and again, soon has.
MODEST = f"""
[limits]
credit_wait_seconds_max = 5.0
straight = {str(IS_STRAIGHT).lower()}
[table]
branches = 8192
revocations = 16384
reservations = 4096
"""


class Premises:
    """A folder made by `init`, and the gateway that a test serves from it.

    `within` is put before its commands that serve, such as `nsenter` of another network.
    """

    def __init__(self, folder: Path, *more: str, within: Sequence[str] = ()) -> None:
        self._stand_in(folder / "gateway", within)
        self.port = reserve()
        self.run("init", str(self.folder), "--port", str(self.port), *more, configured=False)
        if "[limits]" not in self.file.read_text():  # as it is in one that was made from another
            with self.file.open("a") as file:
                file.write(MODEST)

    def _stand_in(self, folder: Path, within: Sequence[str]) -> None:
        """Serve from this folder, which `init` or another test process has made."""
        self.within = tuple(within)
        self.folder = folder
        self.file = folder / "crewgate.toml"
        self.serving: Forked | subprocess.Popen[bytes] | None = None
        self.orchestrators: list[Orchestrator] = []

    def run(self, *arguments: str, configured: bool = True) -> str:
        """One `crewgate` command; what it printed."""
        where = ["-c", str(self.file)] if configured else []
        done = crewgate(*arguments, *where)
        good = {0}
        if arguments[0] in {"revoke", "quarantine", "decommission"}:
            good = {0, 4}  # 4: it was never seen, and is ended all the same
        elif arguments[0] == "status":
            good = {0, 1}  # 1: ready, and a component is not well
        assert done.returncode in good, (arguments, done.stdout, done.stderr)
        return done.stdout

    def ask(self, *arguments: str) -> Any:
        """What a command says with --json; `status` also of a gateway that is not all well."""
        return json.loads(self.run(*arguments, "--json"))

    def generation(self) -> int:
        """Of the configuration, once every worker has the one that is being loaded."""
        found: int = self.ask("status", "--wait", "100")["policy_generation"]
        return found

    def serve(self, environment: dict[str, str] | None = None) -> None:
        """Start it and wait until it is ready; `environment` is added to ours."""
        self.start(environment)
        self.run("status", "--wait", "100")

    def start(self, environment: dict[str, str] | None = None, *more: str) -> None:
        """Start it, and no more: who has peers is not ready before them."""
        self.serving = self._begin(environment, "crewgate.cli", "serve", "-c", self.file, *more)

    def _begin(
        self, environment: Mapping[str, str] | None, *words: object
    ) -> "Forked | subprocess.Popen[bytes]":
        """Begin `python -m WORDS`, which writes into serve.log."""
        given = os.environ | (environment or {})
        with (self.folder / "serve.log").open("ab") as log:
            # Only a process that imports all anew has what another PYTHONPATH brings in.
            if not self.within and "PYTHONPATH" not in (environment or {}):
                streams = (None, log, log)
                return forked.start(forked.module, *words, streams=streams, environment=given)
            command = [*self.within, sys.executable, "-P", "-m", *map(str, words)]
            return subprocess.Popen(command, stdout=log, stderr=log, env=given)

    def edit(self, old: str, new: str) -> None:
        """Change the configuration."""
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def orchestrator(
        self, crew: str = "article", name: str | None = None, decide: Decide | None = None
    ) -> Orchestrator:
        """The crew's, closed with the installation."""
        orchestrator = Orchestrator.from_config(self.file, crew=crew, name=name, decide=decide)
        self.orchestrators.append(orchestrator)
        return orchestrator

    def client(self, *, http2: bool = True) -> httpx.AsyncClient:
        """A stock client that trusts the installation's CA."""
        context = ssl.create_default_context(cafile=str(self.folder / "certs" / "ca.pem"))
        return httpx.AsyncClient(
            verify=context,
            http2=http2,
            base_url=f"https://127.0.0.1:{self.port}",
            timeout=30,
            trust_env=False,
        )

    def children(self, kind: str) -> list[int]:
        """Process ids of the running agent or of the workers."""
        assert self.serving is not None
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                command = (entry / "cmdline").read_bytes()
            except (OSError, ValueError, IndexError):
                continue
            if parent == self.serving.pid and f"crewgate.{kind}".encode() in command:
                found.append(int(entry.name))
        return sorted(found)

    @contextmanager
    def stopped(self) -> Iterator[list[int]]:
        """The gateway does nothing while the block runs; its processes, the supervisor first."""
        assert self.serving is not None
        kinds = ("agent", "gateway", "control")
        processes = [self.serving.pid, *(pid for kind in kinds for pid in self.children(kind))]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            # One that is stopped has also done what it asked of the kernel.
            wait_until(lambda: {process_state(process) for process in processes} == {"T"})
            yield processes
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def records(self) -> list[dict[str, Any]]:
        """All audit records, in the order of the files."""
        return audit_records(self.folder / "state" / "audit")

    def stop(self) -> int:
        """SIGTERM; the status with which it ended."""
        assert self.serving is not None
        self.serving.send_signal(signal.SIGTERM)
        return self.serving.wait(60)

    def end(self) -> None:
        """End whatever still runs."""
        for orchestrator in self.orchestrators:
            orchestrator.close()
        if self.serving is not None and self.serving.poll() is None:
            for pid in self.children("gateway") + self.children("agent"):
                with suppress(ProcessLookupError):  # one that was leaving
                    os.kill(pid, signal.SIGCONT)
            self.serving.terminate()
            try:
                self.serving.wait(15)
            except subprocess.TimeoutExpired:
                self.serving.kill()
                self.serving.wait()


class Installation(Premises):
    """Premises with one tool server, whose tools all have the same price."""

    def __init__(
        self,
        folder: Path,
        *more: str,
        price: str = "1",
        workers: int = 2,
        delay: float = 0.0,
        within: Sequence[str] = (),
    ) -> None:
        super().__init__(folder, *more, within=within)
        text = self.file.read_text().replace('price = "0.01"', f'price = "{price}"')
        text = text.replace("workers = 2", f"workers = {workers}")
        if "search.stream" not in text:
            text += STREAM.format(price=price)
        self.file.write_text(text)
        asked, pipe = (str(self.port + 10), str(delay)), subprocess.PIPE
        self.tools: Forked | subprocess.Popen[bytes]
        if within:
            command = [*within, sys.executable, tool_server.__file__, *asked]
            self.tools = subprocess.Popen(command, stdin=pipe, stdout=pipe)
        else:
            self.tools = forked.start(tool_server.run, *asked, streams=(pipe, pipe, None))
        assert self.tools.stdout is not None
        assert self.tools.stdout.readline() == b"ready\n"

    def end(self) -> None:
        """End the tool server too."""
        super().end()
        assert self.tools.stdin is not None
        self.tools.stdin.close()
        self.tools.wait(10)
        if self.tools.stdout is not None:
            self.tools.stdout.close()


@contextmanager
def installed(folder: Path, **options: Any) -> Iterator[Installation]:
    """A serving installation that ends with the block."""
    installation = Installation(folder, **options)
    try:
        installation.serve()
        yield installation
    finally:
        installation.end()


def audit_records(folder: Path) -> list[dict[str, Any]]:
    """All of an audit, in the order of the files; not a record that is being written now."""
    return [
        msgspec.json.decode(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]


def wait_until(true: Any, seconds: float = 60.0) -> None:
    """Look again and again; a bound that only a hang crosses."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.02)


def is_listening(port: int) -> bool:
    """Whether a socket of IPv4 listens at this port; a connection would be logged (proc_net(5))."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    sockets = ((fields[1], fields[3]) for fields in map(str.split, lines))
    return any(int(local[-4:], 16) == port and state == "0A" for local, state in sockets)


def process_state(pid: int) -> str:
    """The letter that the kernel gives the state of a process (proc(5)); empty if it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def watched_minute() -> float:
    """The number of the minute in which the minting watch counts now, the same in each process."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) // 60
