"""Sub-agents behind sidecars of their own: their calls, what a thief gets, and how they end."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from installation import Installation, installed, wait_until
from landlock import needs_domains
from prying import DROP, NOBODY, OTHERS, WITHOUT_SOCKET, interpreter_of_others, prying

from crewgate.errors import BranchRevokedError, IssuerError, ScopeError
from crewgate.issuer import (
    Orchestrator,
    ProofKey,
    SubAgent,
    SubAgentCommand,
    SubAgentProcess,
)
from crewgate.issuer.processes import sub_agent_process
from crewgate.lifecycle.processes import SIDECAR_PROCESS_NAME

CALL = 'curl -s --unix-socket "$CREWGATE_SOCKET" "$CREWGATE_GATEWAY/search" -d "{}"'
STREAM = 'curl -sN --unix-socket "$CREWGATE_SOCKET" "$CREWGATE_GATEWAY/stream"'
ORCHESTRATOR = """
import sys
from crewgate.issuer import Orchestrator
with Orchestrator.from_config(sys.argv[1], crew="article", name="killed") as orchestrator:
    run = orchestrator.start_run(credits="1", tools=["search.*"])
    child = run.spawn(role="r", tools=["search.*"], credits="1", command=["sleep", "600"])
    print(child.process.pid, flush=True)
    sys.stdin.read()
"""

# The whole life of a process whose sidecar has its own user, without a gateway.
SAME_USER = """
import sys
from pathlib import Path
from types import SimpleNamespace
from crewgate.issuer.control_api.gateway_address import GatewayAddress
from crewgate.issuer.processes.sub_agent_process import HeldProcess
script = 'parent() { cut -d" " -f4 /proc/$1/stat; }; sh "$1" "$(parent $$)"; id -u'
gateway = GatewayAddress("127.0.0.1", 9, "localhost", Path(sys.argv[1]))
held = HeldProcess(["sh", "-c", script, "sh", sys.argv[2]], gateway)
class Branch:
    def token(self, branch):
        return "a.b.c"
    def claims(self, branch):
        return SimpleNamespace(iat=0, exp=2**33)
    def revoke(self, branch, reason):
        pass
held.begin("branch", Branch()).wait()
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("sub"), price="0.01", workers=1) as installation:
        yield installation


@pytest.fixture
def pry() -> Iterator[Path]:
    with prying() as path:
        yield path


@pytest.fixture(scope="module")
def orchestrator(gateway: Installation) -> Orchestrator:
    return gateway.orchestrator(decide=lambda request: request.more_credits == "0.50")


@pytest.fixture
def run(orchestrator: Orchestrator) -> SubAgent:
    return orchestrator.start_run(credits="10", tools=["search.*"])


class Sub:
    """A sub-agent whose program, for a shell, prints to a file."""

    def __init__(self, run: SubAgent, folder: Path, script: str, user: str | None = None) -> None:
        self._out = folder / "out"
        self._out.touch()
        self._out.chmod(0o666)
        command = SubAgentCommand(["sh", "-c", f"exec >>{self._out} 2>&1; {script}"], user=user)
        self.agent = run.spawn(role="researcher", tools=["search.*"], credits="1", command=command)
        assert self.agent.process is not None
        self.process: SubAgentProcess = self.agent.process

    def printed(self, lines: int) -> list[str]:
        """The lines that it prints, once there are so many."""
        wait_until(lambda: len(self._out.read_text().splitlines()) >= lines)
        return self._out.read_text().splitlines()

    @property
    def sidecar(self) -> int:
        """The process id of its sidecar."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[1])

    def environment(self) -> dict[str, str]:
        """That of the process, as any process of its user reads it."""
        data = Path(f"/proc/{self.process.pid}/environ").read_text()
        return dict(line.split("=", 1) for line in data.split("\0") if line)


def test_the_kernel_names_the_process_and_its_end_ends_the_branch(
    gateway: Installation, run: SubAgent, tmp_path: Path
) -> None:
    """Of a grandchild too, whose parents have ended; audit, grant and token say who named it."""
    orphan = f"(setsid sh -c '{CALL} -o /dev/null; echo; echo $$ >{tmp_path}/orphan' &)"
    wait = f"while [ ! -s {tmp_path}/orphan ]; do :; done"
    sub = Sub(run, tmp_path, f"{CALL}; echo; {orphan}; {wait}; exit 3")
    claims = sub.agent.claims
    assert sub.process.wait(60) == sub.process.returncode == 3
    heard = json.loads(sub.printed(1)[0])
    assert heard["x-crewgate-process"] == claims.process_id
    assert claims.process_id.startswith(f"pid_{sub.process.pid}/start_")
    assert claims.process_proven is True
    with pytest.raises(BranchRevokedError):
        sub.agent.token()
    branch = sub.agent.branch

    def of_branch() -> list[dict[str, object]]:
        return [each for each in gateway.records() if each.get("branch") == branch]

    wait_until(lambda: sum(each.get("verdict") == "permit" for each in of_branch()) == 2)
    proven = [each.get("process_proven") for each in of_branch() if each["kind"] != "revocation"]
    assert set(proven) == {True}
    assert len(proven) < len(of_branch())  # the branch was revoked
    table = gateway.run("audit", "--branch", branch)
    assert f"pid_{sub.process.pid} (proven)" in table
    assert "(stated)" in gateway.run("inspect", run.token(), configured=False)


def test_a_thief_gets_nothing_that_is_good(
    gateway: Installation, run: SubAgent, tmp_path: Path
) -> None:
    """Neither the socket, nor the environment, nor even the token of the branch."""
    sidecar = "$(cut -d' ' -f4 /proc/$$/stat)"
    call = f"cat /proc/{sidecar}/comm; {CALL} -o /dev/null -w '%{{http_code}}\n'; sleep 600"
    sub = Sub(run, tmp_path, call)
    # No sidecar above this one serves the program, since this one has that name.
    assert sub.printed(2) == [SIDECAR_PROCESS_NAME.decode(), "200"]
    environment = sub.environment()
    token = sub.agent.token()
    assert not any(token in value or "eyJ" in value for value in environment.values())
    proc = Path(f"/proc/{sub.process.pid}")
    for line in (proc / "maps").read_text().splitlines():
        if "[heap]" in line or "[stack]" in line:
            first, last = (int(part, 16) for part in line.split()[0].split("-"))
            with (proc / "mem").open("rb") as memory:
                memory.seek(first)
                assert b"eyJ" not in memory.read(last - first)
    # A process of the same user, beside the program, finds the socket.
    with socket.socket(socket.AF_UNIX) as thief:
        thief.settimeout(30)
        thief.connect(environment["CREWGATE_SOCKET"])
        with suppress(ConnectionResetError, BrokenPipeError):
            thief.sendall(b"GET /search HTTP/1.1\r\nHost: x\r\n\r\n")
            assert thief.recv(1) == b""
    # One that has read the memory of the orchestrator has the token, and no key.
    url = f"https://127.0.0.1:{gateway.port}/search"
    proof = ProofKey.generate().proof(token, "POST", url)
    context = ssl.create_default_context(cafile=str(gateway.folder / "certs" / "ca.pem"))
    with httpx.Client(verify=context, trust_env=False) as client:
        for fields in (
            {"authorization": f"Bearer {token}"},
            {"authorization": f"DPoP {token}"},
            {"authorization": f"DPoP {token}", "dpop": proof},
        ):
            answer = client.post(url, headers=fields, json={})
            assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (
                401,
                "invalid-proof",
            )
    sub.process.end()
    assert sub.process.wait(30) == 128 + signal.SIGTERM


@needs_domains
def test_a_program_can_neither_trace_nor_signal_other_processes(
    run: SubAgent, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its sidecar, another sub-agent and the orchestrator, with the same user; only its own."""
    other = Sub(run, tmp_path_factory.mktemp("other"), "sleep 600")
    own = 'sleep 600 & kill -CONT $! && kill $!; P=$(cut -d" " -f4 /proc/$$/stat)'
    attack = "kill -CONT $p; head -c1 /proc/$p/mem"
    others = f"$P {other.process.pid} {os.getpid()}"
    sub = Sub(run, tmp_path, f"{own}; for p in {others}; do {attack}; done; echo end")
    assert sub.process.wait(60) == 0
    said = [line for line in sub.printed(7) if line]
    refused = [line.rpartition(": ")[2] for line in said]
    assert refused == ["Operation not permitted", "Permission denied"] * 3 + ["end"]
    other.process.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts processes of other users")
def test_a_program_of_another_user_reads_nothing_of_its_sidecar(
    run: SubAgent,
) -> None:
    """Its memory and descriptors are closed to it; its socket is open."""
    peek = 'P=$(cut -d" " -f4 /proc/$$/stat); for f in mem environ fd/0; do cat /proc/$P/$f; done'
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        sub = Sub(run, folder, f"id -u; {CALL} -o /dev/null -w '%{{http_code}}\n'; {peek}", "65534")
        assert sub.process.wait(30) != 0
        lines = sub.printed(5)
    assert lines[:2] == ["65534", "200"]
    assert all("Permission denied" in line for line in lines[2:])
    assert len(lines) == 5


def test_a_program_of_the_same_user_reads_nothing_of_its_sidecar(
    gateway: Installation, pry: Path
) -> None:
    """Without root it has the sidecar's uid; memory, files in /proc and ptrace are closed."""
    interpreter = interpreter_of_others("import crewgate.sidecar.sub_agent, crewgate.issuer")
    trust = pry.with_suffix(".pem")
    shutil.copy(gateway.folder / "certs" / "ca.pem", trust)
    trust.chmod(0o644)
    try:
        done = subprocess.run(
            [*DROP, interpreter, "-c", SAME_USER, str(trust), str(pry)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | OTHERS | {"XDG_RUNTIME_DIR": ""},
            timeout=60,
        )
    finally:
        trust.unlink()
    lines = done.stdout.splitlines()
    assert set(lines[:8]) == {f"{what}: closed" for what in WITHOUT_SOCKET}, done.stderr
    assert lines[-1] == str(NOBODY), done.stderr


def test_the_end_of_the_branch_ends_the_process_and_its_stream(
    run: SubAgent, tmp_path: Path
) -> None:
    """At once, whether it is revoked itself or with its run; a trap delays the process only."""
    sub = Sub(run, tmp_path, f"trap '' TERM; {STREAM}; echo cut; {CALL}; echo $?; exit 7")
    sub.printed(1)
    run.revoke()
    assert sub.process.wait(60) in {7, 128 + signal.SIGKILL}
    lines = sub.printed(1)
    assert "cut" in lines
    assert "200" not in lines[lines.index("cut") :]
    assert not Path(f"/proc/{sub.process.pid}").exists()


def test_a_newer_grant_reaches_the_sidecar_at_once(run: SubAgent, tmp_path: Path) -> None:
    """The program does nothing for that."""
    go = tmp_path / "go"
    wait = f"while [ ! -e {go} ]; do :; done"
    sub = Sub(run, tmp_path, f"{CALL}; echo; {wait}; {CALL}; echo")
    sub.printed(1)
    first = sub.agent.claims.jti
    sub.agent.refresh(credits="2")
    go.touch()
    assert sub.process.wait(60) == 0
    grants = [json.loads(line)["x-crewgate-grant"] for line in sub.printed(2)]
    assert grants[0] == first != grants[1]


def test_a_program_asks_for_more_over_its_socket(
    gateway: Installation, run: SubAgent, tmp_path: Path
) -> None:
    """The orchestrator decides; yes and no reach the program, whose next call is good."""
    ask = (
        'curl -s --unix-socket "$CREWGATE_SOCKET" "$CREWGATE_GATEWAY/.crewgate/extension" '
        "-w '\\n%{http_code}\\n'"
    )
    bodies = ('{"more_credits": "0.50", "reason": "more pages"}', '{"more_credits": "9"}', "{}")
    asked = [f"{ask} -d '{body}'" for body in bodies]
    asked += [f"{ask} --http2-prior-knowledge -d '{bodies[0]}'", f"{ask} -o /dev/null"]
    asked += [f"head -c 9000 /dev/zero | {ask} -o /dev/null --data-binary @-", f"{CALL}; echo"]
    sub = Sub(run, tmp_path, "; ".join(asked))
    assert sub.process.wait(60) == 0
    yes, ok, no, forbidden, empty, bad, again, ok2, _, no_post, _, too_large, call = sub.printed(13)
    assert (ok, forbidden, bad, ok2, no_post, too_large) == (
        "200",
        "403",
        "400",
        "200",
        "405",
        "413",
    )
    assert (json.loads(yes)["is_granted"], json.loads(yes)["credits"]) == (True, "1.50")
    assert json.loads(no)["answer"] == "the orchestrator said no"
    assert "ask for more_seconds, more_credits or more_tools" in json.loads(empty)["detail"]
    assert json.loads(again)["credits"] == "2.00"
    assert json.loads(call)["x-crewgate-branch"] == sub.agent.branch
    branch = sub.agent.branch
    found = json.loads(gateway.run("journal", "--branch", branch, "--json"))["entries"]
    decided = [(each["event"], each["decided_by"], each["reason"]) for each in found[1:4]]
    assert {each["way"] for each in found[1:4]} == {"socket"}
    assert decided == [
        ("extend", "callback", "more pages"),
        ("refuse", "callback", ""),
        ("extend", "callback", "more pages"),
    ]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_sidecar_that_is_killed_or_hangs_ends_all(
    run: SubAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The kernel kills the program with it; the orchestrator revokes the branch, and tidies up."""
    monkeypatch.setattr(sub_agent_process, "_END_SECONDS", 0.5)
    sub = Sub(run, tmp_path, "echo up; sleep 600")
    sub.printed(1)
    door = Path(sub.environment()["CREWGATE_SOCKET"])
    os.kill(sub.sidecar, number)
    if number is signal.SIGSTOP:
        sub.process.end()
    assert sub.process.wait(60) == 128 + signal.SIGKILL
    wait_until(lambda: not Path(f"/proc/{sub.process.pid}").exists())
    assert not door.parent.exists()
    with pytest.raises(BranchRevokedError):
        sub.agent.token()


def test_a_killed_orchestrator_ends_its_processes(gateway: Installation) -> None:
    """Nobody else could renew a token, or revoke the branch through a handle."""
    command = [sys.executable, "-c", ORCHESTRATOR, str(gateway.file)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        process.kill()
        wait_until(lambda: not Path(f"/proc/{pid}").exists())


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_a_traced_sidecar_makes_no_key(gateway: Installation, tmp_path: Path) -> None:
    """It was traced before it was undumpable, so the tracer would go on to read it."""
    log = tmp_path / "strace"
    command = [sys.executable, "-c", ORCHESTRATOR, str(gateway.file)]
    traced = ["strace", "-f", "-o", str(log), "-e", "trace=none", *command]
    done = subprocess.run(
        traced, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
    )
    assert "traces the sidecar, so it would read its key" in done.stderr


def test_a_run_has_a_process_too(orchestrator: Orchestrator) -> None:
    """The program that leads a crew, started by one that only watches."""
    command = ["sh", "-c", f"test $({CALL} -o /dev/null -w '%{{http_code}}') = 200"]
    run = orchestrator.start_run(credits="1", tools=["search.*"], command=command)
    assert run.process is not None
    assert run.claims.process_proven is True
    assert run.process.wait(60) == 0


def test_what_cannot_be_started(run: SubAgent) -> None:
    """Each with its reason; no process and no branch is left."""
    common = {"role": "r", "tools": ["search.*"], "credits": "1"}
    with pytest.raises(IssuerError, match="cannot run crewgate-no-such-program: not found"):
        run.spawn(**common, command=["crewgate-no-such-program"])  # type: ignore[arg-type]
    with pytest.raises(IssuerError, match="expected a list of texts"):
        run.spawn(**common, command="ls -l")  # type: ignore[arg-type]
    with pytest.raises(IssuerError, match="leave out"):
        run.spawn(**common, command=["ls"], binding=ProofKey.generate().binding)  # type: ignore[arg-type]
    with pytest.raises(ScopeError):
        run.spawn(role="r", tools=["publish.*"], credits="1", command=["sleep", "600"])
    assert run.process is None
