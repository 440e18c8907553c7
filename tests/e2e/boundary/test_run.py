"""`crewgate run` as a person has it: a gateway, an orchestrator, stock clients at its door."""

import json
import os
import pwd
import re
import shutil
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from command_process import crewgate
from installation import Installation, installed, wait_until
from orchestrators import CREW, curl, is_running, running

from crewgate.issuer import Confirmation, Orchestrator
from crewgate.issuer.signing import SigningKey

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
ME = pwd.getpwuid(os.geteuid()).pw_name
UDS = """
import os, sys, httpx
way = httpx.HTTPTransport(uds=os.environ["CREWGATE_SOCKET"], http1=sys.argv[1] == "1",
                          http2=sys.argv[1] == "2")
with httpx.Client(transport=way, base_url=os.environ["CREWGATE_GATEWAY"]) as client:
    for _ in range(3):
        answer = client.post("/search", headers={"authorization": f"Bearer {sys.argv[2]}"},
                             content=b"x" * 300_000)
        print(answer.http_version, answer.status_code, answer.json()["x-crewgate-orchestrator"])
"""

MINTING = """
from crewgate.issuer.remote import sidecar_orchestrator
with sidecar_orchestrator() as orchestrator:
    run = orchestrator.start_run(credits="1", tools=["search.*"])
    child = run.spawn(role="researcher", tools=["search.web"], credits="0.50")
    print(child.claims.client_id, child.claims.agent_role, child.revoke().is_complete)
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("run"), price="0.01", workers=1) as installation:
        yield installation


@pytest.fixture(scope="module")
def token(gateway: Installation) -> str:
    """Of a sub-agent whose orchestrator is none of those that the tests end."""
    run = gateway.orchestrator().start_run(credits="500", tools=["search.*"])
    return run.token()


def _statuses(gateway: Installation, name: str) -> list[str]:
    rows = gateway.ask("ca", "list", "--all")
    return [row["status"] for row in rows if row["name"] == name]


def _states(gateway: Installation) -> dict[str, str]:
    with closing(sqlite3.connect(gateway.folder / "ca" / "issued.sqlite")) as database:
        return dict(database.execute("SELECT name, state FROM life ORDER BY id"))


@pytest.mark.parametrize("more", ["--http1.1", "--http2-prior-knowledge"])
def test_curl_goes_through_the_door(gateway: Installation, token: str, more: str) -> None:
    """Both HTTPs, in the clear at the door, reach a tool; CMD's status is that of `run`."""
    call = curl("/search", more, "-w ' %{http_version} %{http_code}'", "-d '{}'", token=token)
    with running(gateway, "curl-1", "sh", "-c", f"{call}; exit 3") as orchestrator:
        assert orchestrator.wait() == 3, orchestrator.said
    assert orchestrator.printed.split()[-2:] == ["2" if "2" in more else "1.1", "200"]
    assert set(_statuses(gateway, "curl-1")) == {"revoked"}
    assert _states(gateway)["curl-1"] == "ended"


def test_who_is_told_at_its_end_has_cmd_s_status(gateway: Installation) -> None:
    """The control process tells everybody whose end it finds begun; here again and again."""
    with running(gateway, "told", "sh", "-c", "exit 3") as orchestrator:
        wait_until(lambda: _states(gateway).get("told") in {"ending", "untold", "ended"})
        while orchestrator.process.poll() is None:
            orchestrator.process.terminate()
            time.sleep(0.002)
    assert orchestrator.wait() == 3, orchestrator.said


@pytest.mark.parametrize("version", ["1", "2"])
def test_httpx_goes_through_the_door(gateway: Installation, token: str, version: str) -> None:
    """A stock Python client with a unix socket keeps one connection for three large calls."""
    command = [sys.executable, "-c", UDS, version, token]
    with running(gateway, f"httpx-{version}", *command, user=ME) as orchestrator:
        assert orchestrator.wait() == 0, orchestrator.said + orchestrator.printed
    spoken = {"1": "HTTP/1.1", "2": "HTTP/2"}[version]
    assert orchestrator.printed.splitlines() == [f"{spoken} 200 {CREW}/{CREW}-1"] * 3


def test_a_token_bound_to_the_door_s_key_needs_no_proof_of_cmd(
    gateway: Installation, tmp_path: Path
) -> None:
    """The door adds it for clients that know only Bearer; elsewhere the token is worthless."""
    file = tmp_path / "token"
    call = curl("/search", "-o /dev/null -w '%{http_code}\n'", "-d '{}'", token="$(cat $FILE)")
    script = f"FILE={file}; echo $CREWGATE_PROOF_KEY; while [ ! -s $FILE ]; do :; done; {call}"
    with running(gateway, "proving", "sh", "-c", script, user=ME) as orchestrator:
        wait_until(lambda: orchestrator.printed)
        binding = Confirmation(jkt=orchestrator.printed.strip())
        run = gateway.orchestrator(name="minter").start_run(
            credits="1", tools=["search.*"], binding=binding
        )
        draft = file.with_suffix(".draft")
        draft.write_text(run.token())
        draft.replace(file)
        assert orchestrator.wait() == 0, orchestrator.said
    assert orchestrator.printed.split()[1:] == ["200"]
    context = ssl.create_default_context(cafile=str(gateway.folder / "certs" / "ca.pem"))
    url, fields = (
        f"https://127.0.0.1:{gateway.port}/search",
        {"authorization": f"Bearer {run.token()}"},
    )
    answer = httpx.post(url, headers=fields, json={}, verify=context, trust_env=False)
    assert answer.json()["type"].endswith("invalid-proof")


def test_a_program_mints_through_the_door(gateway: Installation) -> None:
    """Without a key or a certificate of its own, if the socket leads to the control API."""
    command, api = [sys.executable, "-c", MINTING], f"localhost:{gateway.port + 2}"
    with running(gateway, "sidecar-1", *command, user=ME, gateway=api) as orchestrator:
        assert orchestrator.wait() == 0, orchestrator.said + orchestrator.printed
    assert orchestrator.printed.split() == [f"{CREW}/sidecar-1", "researcher", "True"]


def test_renewal_in_the_midst_of_a_stream(gateway: Installation, token: str) -> None:
    """A stream outlives the certificate that it began with; both are good meanwhile."""
    stream = curl("/stream", token=token)
    with running(gateway, "renewing", "sh", "-c", stream, life="8s") as orchestrator:
        wait_until(lambda: len(orchestrator.serials()) == 3, 60)
        rows = {row["serial"]: row["status"] for row in gateway.ask("ca", "list", "--all")}
        assert [rows[serial] for serial in orchestrator.serials()][1:] == ["valid", "valid"]
        before = len(orchestrator.printed)
        wait_until(lambda: len(orchestrator.printed) > before)
    assert "not renewed" not in orchestrator.said


def test_decommission_in_the_midst_of_a_stream(gateway: Installation, token: str) -> None:
    """Certificates, process and the name's tokens are dead when the command returns."""
    # A stream ends with the certificate that it was begun with: another follows.
    streams = f"while :; do {curl('/stream', token=token)}; done"
    with running(gateway, "bd-1", "sh", "-c", streams, life="12s") as orchestrator:
        child = orchestrator.child
        wait_until(lambda: len(orchestrator.serials()) >= 2 and orchestrator.printed, 120)
        before = len(orchestrator.printed)
        wait_until(lambda: len(orchestrator.printed) > before)  # a stream is there now
        done = gateway.ask("decommission", f"{CREW}/bd-1")
        assert done["complete"]
        assert done["certificates"] >= 2
        assert done["connections_closed"] >= 1
        print(f"decommission: connections closed within {done['cut_ms']:.1f} ms")
        assert not is_running(child)
        assert orchestrator.wait() == 0, orchestrator.said
    assert set(_statuses(gateway, "bd-1")) == {"revoked"}
    named = [row for row in gateway.records() if row.get("id") == f"{CREW}/bd-1"]
    assert {row["target"] for row in named} == {"orchestrator"}


def test_a_killed_supervisor_s_end_is_completed_by_the_control_process(
    gateway: Installation,
) -> None:
    """Nobody starts anything: the gateway that runs finds the orphan; the audit has its end."""
    with running(gateway, "orphan", "sleep", "60") as orchestrator:
        child = orchestrator.child
        orchestrator.process.kill()
        orchestrator.wait()
    wait_until(lambda: _states(gateway)["orphan"] == "ended", 60)
    assert set(_statuses(gateway, "orphan")) == {"revoked"}
    assert not is_running(child)
    done = [row["detail"] for row in gateway.records() if row.get("event") == "control"]
    assert f"completed the end of {CREW}/orphan" in done


def test_its_own_key_is_revoked_with_it(gateway: Installation) -> None:
    """A key that speaks for one orchestrator leaves the JWKS, and its tokens are dead at once."""
    key = SigningKey.generate("own-key-1")
    key.orchestrator = f"{CREW}/own"
    jwks = gateway.folder / "crews" / f"{CREW}.jwks.json"
    document = json.loads(jwks.read_text())
    before = document["keys"][0]["kid"]
    document["keys"].append(key.jwk())
    jwks.write_text(json.dumps(document))
    gateway.generation()
    with running(gateway, "own", "sleep", "600") as orchestrator:
        assert orchestrator.child
        done = gateway.ask("decommission", f"{CREW}/own")
        assert done["keys"] == ["own-key-1"]
    assert [each["kid"] for each in json.loads(jwks.read_text())["keys"]] == [before]
    assert {
        row["target"] for row in gateway.records() if row.get("id") in {"own-key-1", f"{CREW}/own"}
    } == {"key", "orchestrator"}


def test_its_tokens_are_dead_and_those_of_its_next_life_are_not(gateway: Installation) -> None:
    """Never seen by the gateway, minted before the end: 401. Minted by the next life: good."""
    with Orchestrator.from_config(gateway.file, crew=CREW, name="minting") as minting:
        old = minting.start_run(credits="1", tools=["search.*"]).token()
        gateway.run("decommission", f"{CREW}/minting")
        with running(gateway, "minting", "sh", "-c", f"{_status(old)}; exec sleep 600") as again:
            wait_until(lambda: again.printed)
            assert again.printed == "401"
            new = minting.start_run(credits="1", tools=["search.*"]).token()
            with running(gateway, "other", "sh", "-c", _status(new)) as other:
                assert other.wait() == 0
                assert other.printed == "200"


def _status(token: str) -> str:
    """A call of which the status is printed."""
    return curl("/search", "-w '%{http_code}'", "-o /dev/null", "-d '{}'", token=token)


def test_one_name_lives_once(gateway: Installation) -> None:
    """A second `run` of a name that lives is refused, with what to do.

    A name that has ended is known, in contrast to a mistyped one.
    """
    with running(gateway, "twin", "sleep", "600") as orchestrator:
        assert orchestrator.child
        with running(gateway, "twin", "true") as other:
            assert other.wait() == 2
        assert f"crewgate decommission {CREW}/twin" in Path(other.log).read_text()
    known, unknown = ("twin", 0, "no valid certificate"), ("twim", 4, "is it mistyped?")
    for name, status, said in (known, unknown):
        done = crewgate("decommission", "-c", gateway.file, f"{CREW}/{name}")
        assert (done.returncode, said in done.stdout) == (status, True), done


def test_what_it_started_ends_with_it(gateway: Installation) -> None:
    """Also a daemon that left session, group and parent behind, and hears no SIGTERM."""
    daemon = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' &)"
    with running(gateway, "daemons", "sh", "-c", f"{daemon}; exec sleep 600") as orchestrator:
        wait_until(lambda: orchestrator.printed.strip() != "")
        pid = int(orchestrator.printed)
        assert is_running(pid)
        orchestrator.process.terminate()
        assert orchestrator.wait() == 0, orchestrator.said
        assert not is_running(pid)


def test_a_command_that_is_not_there(gateway: Installation) -> None:
    """One line and status 2 before anything has begun: no life, no certificate, nobody's end."""
    with running(gateway, "absent", "no-such-command") as orchestrator:
        assert orchestrator.wait() == 2
    assert "cannot run no-such-command: not found" in orchestrator.said
    assert _statuses(gateway, "absent") == []
    assert "absent" not in _states(gateway)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a user to spare")
def test_a_command_that_its_user_may_not_run(gateway: Installation, tmp_path: Path) -> None:
    """The folder that is closed is named, also behind a link, and nothing has begun."""
    program = tmp_path / "closed" / "program"
    program.parent.mkdir(mode=0o700)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        link = Path(folder) / "link"
        link.symlink_to(program)
        for path in (program, link):
            with running(gateway, "closed", str(path)) as orchestrator:
                assert orchestrator.wait() == 2
            said = re.search(
                f"cannot run {path}: (.+) is closed to CMD's user, so {path} is too; ",
                orchestrator.said,
            )
            assert said is not None
            assert Path(said[1]) in program.parents
    assert _statuses(gateway, "closed") == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--crew", "nobody", "--name", "x"), "no crew 'nobody'"),
        (("--crew", CREW, "--name", "X/y"), "the name 'X/y'"),
        (("--crew", CREW, "--name", "x", "--user", "no one"), "no such user"),
        (("--crew", CREW, "--name", "x", "--gateway", "here"), "expected HOST:PORT"),
    ],
)
def test_bad_input_is_one_line(gateway: Installation, options: tuple[str, ...], said: str) -> None:
    """Status 2, and no life is written down."""
    before = _states(gateway)
    command = [sys.executable, "-m", "crewgate.cli", "run", "-c", str(gateway.file)]
    done = subprocess.run(
        [*command, *options, "--", "true"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert _states(gateway) == before
