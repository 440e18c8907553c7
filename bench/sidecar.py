"""What a sidecar adds to a call: beside the same call to the gateway itself, in turns.

One program makes all calls, each over a kept connection: with a bearer token, with proofs that it
signs itself, and through its sidecar, which signs for it.
"""

import json
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.boundary.gateway import serving
from bench.hop.processes import cpu_seconds
from bench.opening import tools
from bench.sampling import Case, Group, measure, result_of
from crewgate.config import Config
from crewgate.issuer import Orchestrator, ProofKey

BEARER = "a call with a bearer token"
PROVEN = "a call with a proof of the client's own"
SIDECAR = "a call through a sidecar"
CPU = "CPU of the sidecar for a call"
CALLS = 20  # in a batch, which takes some 20 ms
ROUNDS_MAX = 150


class _Client:
    """The program behind the sidecar (sidecar_client.py), and the sidecar's process id."""

    def __init__(self, control: socket.socket, sidecar: int) -> None:
        self._control = control
        self.sidecar = sidecar
        self.cpu_nanoseconds: list[float] = []

    def calls(self, kind: str) -> int:
        """Make the calls of one batch."""
        before = cpu_seconds([self.sidecar])
        self._control.sendall(f"{kind} {CALLS}\n".encode())
        if self._control.recv(1) != b"+":
            raise SystemExit("bench: the client behind the sidecar ended; its messages say why")
        if kind == SIDECAR:
            self.cpu_nanoseconds.append((cpu_seconds([self.sidecar]) - before) / CALLS * 1e9)
        return CALLS


def calls(rounds: int) -> Group:
    """The three kinds of calls, and the processor time of the sidecar."""
    rounds = min(rounds, ROUNDS_MAX)
    with (
        tempfile.TemporaryDirectory() as name,
        serving(Path(name)) as (config, _),
        tools(Path(name), config),
        _client(Path(name), config) as client,
    ):
        cases = [
            Case(kind, lambda kind=kind: client.calls(kind))  # type: ignore[misc]
            for kind in (BEARER, PROVEN, SIDECAR)
        ]
        group = measure("A call through a sidecar", cases, rounds, PROVEN)
        cpu = Case(CPU, lambda: 0, nanoseconds=client.cpu_nanoseconds[-rounds:])
    return Group(group.title, (*group.results, result_of(cpu, {}, {})))


@contextmanager
def _client(folder: Path, config: Config) -> Iterator[_Client]:
    path = str(folder / "control")
    key = ProofKey.generate()
    with (
        Orchestrator.from_config(config.path, crew=config.crews[0].name) as orchestrator,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        listener.bind(path)
        listener.listen()
        listener.settimeout(30)
        given = {"role": "bench", "tools": ["search.*"], "credits": "100"}
        run = orchestrator.start_run(credits="1000", tools=["search.*"])
        tokens = {
            BEARER: run.spawn(**given).token(),  # type: ignore[arg-type]
            PROVEN: run.spawn(**given, binding=key.binding).token(),  # type: ignore[arg-type]
        }
        setting = {
            "port": config.listeners[0].port,
            "tokens": tokens,
            "seed": key._private.private_bytes_raw().hex(),  # noqa: SLF001
        }
        command = [sys.executable, "-m", "bench.sidecar_client", path]
        process = run.spawn(**given, command=command).process  # type: ignore[arg-type]
        if process is None:
            raise SystemExit("bench: the sub-agent has no process")
        stat = Path(f"/proc/{process.pid}/stat").read_text()
        sidecar = int(stat.rpartition(")")[2].split()[1])
        control, _ = listener.accept()
        with control:
            control.settimeout(30)
            control.sendall(json.dumps(setting).encode() + b"\n")
            yield _Client(control, sidecar)
