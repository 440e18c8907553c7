"""A state folder with an agent (or a whole `serve`) as real processes, for end-to-end tests."""

import base64
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import forked
from blocking_attachment import BlockingAttachment
from command_process import crewgate
from crew_world import World
from forked import Forked
from installation import audit_records
from tls_listener import write_certificate

from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.table import Table
from crewgate.config import load
from crewgate.core.ids import EntityKind
from crewgate.core.reasons import Reason
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.verdict import Denial
from crewgate.demo.ports import reserve
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import AgentStatus, RevocationReceipt, TreeRow
from crewgate.ipc.attach_messages import Reload, RevocationNotice
from crewgate.ipc.handshake import attach
from crewgate.policy.loader import load_policy
from crewgate.runtime.process_log import ProcessLog
from crewgate.supervisor.serve import Supervisor

LISTENER = """
[[listener]]
name = "agents"
address = "127.0.0.1"
port = {port}
certificate = "server.pem"
key = "server.key"
"""
PRICE = 10_000  # of the one tool, in micro-credits
COMMAND = [sys.executable, "-c", "from crewgate.cli import main; main()"]

# What is tested is neither how fast a disk is nor how busy a machine.
WAIT = "credit_wait_seconds_max = 5.0"

TOML = """
audience = "https://gateway.example"
state = "{state}"
workers = {workers}
drain_seconds = {drain}
{listener}
[limits]
{wait}
[table]
branches = 256
revocations = 256
reservations = 1024
[crew.article]
issuer = "https://orchestrator.example"
jwks = "jwks.json"
tools = ["search.*"]
credits_per_branch = "1000"
[upstream.local]
url = "http://127.0.0.1:9"
[tool."search.web"]
method = "POST"
path = "/search"
upstream = "local"
price = "{price}"
"""


def reason(verdict: Permit | Denial) -> Reason:
    """Why a call was refused."""
    assert isinstance(verdict, Denial)
    return verdict.reason


class Guest:
    """This process, attached: what an embedder or a worker has in its hands."""

    def __init__(self, site: "Site", *, answers_cuts: bool = False) -> None:
        self.attachment = BlockingAttachment(attach(site.state, answers_cuts=answers_cuts))
        self.table = Table.attach(self.attachment.table)
        self.gate = Gate(self.table, self.attachment.attached.number)
        self._file = site.file
        self.load(self.attachment.attached.policy_generation)

    def load(self, generation: int) -> None:
        """Judge by what the files hold now."""
        self.gate.load(load_policy(load(self._file), generation))

    def call(self, token: bytes, need: int = PRICE) -> Permit | Denial:
        """One call as every guest makes it: decide, draw if that is what is missing, decide."""
        verdict = self.gate.decide(token, 0)
        if isinstance(verdict, Denial) and verdict.retry and verdict.grant:
            self.attachment.draw(verdict.grant, need, seconds=5)
            verdict = self.gate.decide(token, 0)
        return verdict

    def settled(self, token: bytes, need: int = PRICE) -> Permit:
        """One call that must be admitted, charged at its price."""
        verdict = self.call(token, need)
        assert isinstance(verdict, Permit), verdict
        verdict.settle()
        return verdict

    def pushed(self) -> list[RevocationNotice | Reload]:
        """What the agent pushes next."""
        while not (pushed := self.attachment.poll(10)):
            pass
        return pushed

    def close(self) -> None:
        """Leave."""
        self.attachment.close()
        self.table.close()


class Site:
    """One configuration file in a folder, and the processes that a test started on it."""

    def __init__(self, folder: Path, state: str = "state", workers: int = 0) -> None:
        self.folder = folder
        self.further = ""  # tables of the configuration
        self.state = folder / state
        self.file = folder / "crewgate.toml"
        self._state = state
        self.workers, self.drain = workers, 1
        self._port = reserve()
        self._running: list[Forked] = []
        self._guests: list[subprocess.Popen[str]] = []
        self.write()
        if workers:
            write_certificate(folder)
        self.world = World.make()
        (folder / "jwks.json").write_text(json.dumps({"keys": self._keys()}))

    def _keys(self) -> list[dict[str, str]]:
        return [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": base64.urlsafe_b64encode(key.public).rstrip(b"=").decode(),
                "kid": key.kid,
                "alg": "EdDSA",
                "use": "sig",
            }
            for key in self.world.policy.keys
        ]

    def write(self, price: str = "0.01") -> None:
        """Write the configuration, whole and at once, like a careful person does."""
        beside = self.file.with_suffix(".new")
        text = TOML.format(
            state=self._state,
            workers=self.workers,
            drain=self.drain,
            listener=LISTENER.format(port=self._port) if self.workers else "",
            wait=WAIT,
            price=price,
        )
        beside.write_text(text + self.further)
        beside.replace(self.file)

    def agent(self) -> Forked:
        """Start an agent and return once its doors are open."""
        ours, theirs = os.pipe()
        with Path(os.devnull).open("wb") as null:
            asked = ("-c", self.file, "--ready", theirs)
            process = forked.start(
                forked.module, "crewgate.agent", *asked, streams=(None, None, null), keep=(theirs,)
            )
        self._running.append(process)
        os.close(theirs)
        with os.fdopen(ours, "rb") as pipe:
            ready, _, _ = select.select([pipe], [], [], 30)
            assert ready, "the agent did not start in time"
            assert pipe.read() == b"ready", "the agent ended instead of getting ready"
        return process

    def command(self, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run one `crewgate` command on the configuration."""
        return crewgate(*arguments, "-c", self.file, seconds=seconds)

    def serve(self) -> Forked:
        """Start `crewgate serve`; does not wait."""
        with (self.folder / "serve.log").open("ab") as log:
            streams = (None, None, log)
            process = forked.start(forked.command, "serve", "-c", self.file, streams=streams)
        self._running.append(process)
        return process

    def serve_stubs(self) -> Forked:
        """Start a supervisor whose workers only attach; does not wait."""
        with (self.folder / "serve.log").open("ab") as log:
            process = forked.start(_serve_stubs, self.file, streams=(None, None, log))
        self._running.append(process)
        return process

    def guest(self, *arguments: str, script: str = "holding_process.py") -> "subprocess.Popen[str]":
        """Start a process that attaches; by default one that holds a reservation."""
        program = Path(__file__).with_name(script)
        process = subprocess.Popen(
            [sys.executable, str(program), str(self.file), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._guests.append(process)
        return process

    def status(self) -> AgentStatus:
        """What the agent says of itself."""
        with AdminClient(self.state) as owner:
            return owner.status()

    def tree(self) -> dict[str, TreeRow]:
        """The branch tree by branch; the crew's row is the empty one."""
        with AdminClient(self.state) as owner:
            return {row.branch: row for row in owner.tree()}

    def revoke(self, branch: str, crew: str = "") -> RevocationReceipt:
        """End a branch."""
        with AdminClient(self.state) as owner:
            return owner.revoke([RevocationTarget(EntityKind.BRANCH, branch, crew)])

    def audit(self) -> list[dict[str, Any]]:
        """All lines that were written, oldest file first."""
        return audit_records(self.state / "audit")

    def end(self) -> None:
        """End what still runs."""
        for process in [*self._running, *self._guests]:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _serve_stubs(arguments: Sequence[str]) -> None:
    """A supervisor whose workers are tests/support/stub_worker.py."""
    with ProcessLog("serve"):
        sys.exit(Supervisor(Path(arguments[0]), worker="stub_worker").run())


Enter = Callable[..., Guest]
