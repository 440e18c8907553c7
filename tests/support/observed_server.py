"""A test server as a process of its own, which tells its requests, and a gateway in front of it."""

import os
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from installation import Premises, wait_until

from crewgate.issuer import SubAgent


class ObservedServer:
    """A program of tests/support that listens on `port` of the loopback, and serves `/observed`."""

    def __init__(self, program: str, port: int, *more: int, **environment: str) -> None:
        """Start it with the port, and with `more` ports."""
        self.port = port
        self._program = program
        script = str(Path(__file__).with_name(program))
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", script, *map(str, (port, *more))],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )

    def observed(self) -> dict[str, Any]:
        """Return its `requests`, oldest first, and its tasks by their states."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/observed") as answer:
            found: dict[str, Any] = msgspec.json.decode(answer.read())
        return found

    def wait(self) -> None:
        """Return once it answers."""

        def answers() -> bool:
            assert self._process.poll() is None, f"{self._program} has ended"
            try:
                self.observed()
            except OSError:
                return False
            return True

        wait_until(answers)

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


class ObservedGateway:
    """A gateway in front of a server: whom to trust, and tokens."""

    def __init__(self, premises: Premises) -> None:
        self.premises = premises
        self.orchestrator = premises.orchestrator()
        self.ca = premises.folder / "certs" / "ca.pem"

    def trust(self) -> ssl.SSLContext:
        """A context that trusts the gateway."""
        return ssl.create_default_context(cafile=str(self.ca))

    def start(self, credits_: str, tools: Sequence[str]) -> SubAgent:
        """Mint a token of a branch of its own; `orchestrator.revoke` ends the branch."""
        return self.orchestrator.start_run(credits=credits_, tools=tools)


@contextmanager
def served(
    folder: Path, server: ObservedServer, endpoint: str, tools: Sequence[str]
) -> Iterator[Premises]:
    """Serve until the block ends, then end the server too.

    `endpoint` are the last tables of the configuration, whose crew may use `tools`.
    """
    premises = None
    try:
        premises = Premises(folder)  # while the server starts
        head, _, _ = premises.file.read_text().partition("[upstream.tools]")
        head = head.replace("workers = 2", "workers = 1")
        head = head.replace('"search.*"', ", ".join(f'"{each}"' for each in tools))
        premises.file.write_text(head + endpoint)
        premises.serve()
        server.wait()
        yield premises
    finally:
        if premises is not None:
            premises.end()
        server.end()
