"""SIGKILL on CMD, on its supervisor and on the gateway at random moments: nobody's end is lost.

CREWGATE_DEPTH multiplies the rounds, CREWGATE_SEED repeats them.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from installation import Installation, installed, wait_until
from orchestrators import CREW, Running, curl, is_running, running
from search_depth import deep

from crewgate.ca.certificate_db import CertificateDB, CertificateRecord
from crewgate.config import load
from crewgate.core.ids import certificate_key
from crewgate.lifecycle.orchestrator_runs import OrchestratorRunStore

ROUNDS = deep(4)
SEED = int(os.environ.get("CREWGATE_SEED", str(random.randrange(2**32))))
VICTIMS = ("child", "supervisor", "worker", "agent", "gateway", "supervisor and gateway")
MOMENT_SECONDS = 2.0  # certificates live 3 s, so that some are renewed

pytestmark = [
    pytest.mark.stress,
    pytest.mark.timeout(ROUNDS * 30 + 120),
    pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed"),
    pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed"),
]


class Storm:
    """One gateway, and orchestrators that end badly."""

    def __init__(self, site: Installation) -> None:
        self.site = site
        self.choose = random.Random(SEED)
        run = site.orchestrator().start_run(credits="900", tools=["search.*"])
        self.token = run.token()
        self.killed: Counter[str] = Counter()
        self.orphaned_ms: list[float] = []
        self.statuses: Counter[int] = Counter()

    def round(self, number: int) -> None:
        """Start an orchestrator that streams, kill somebody at some moment, end what is left."""
        stream = f"while :; do {curl('/stream', token=self.token)}; sleep 0.1; done"
        with running(self.site, f"storm-{number}", "sh", "-c", stream, life="3s") as orchestrator:
            if number == 0 or self.choose.random() < 0.7:
                assert orchestrator.child  # else the moment may be in the midst of the start
            time.sleep(self.choose.random() * MOMENT_SECONDS)
            victim = self.choose.choice(VICTIMS)
            self.killed[victim] += 1
            self.kill(victim, orchestrator)
            if "supervisor" not in victim and self.choose.random() < 0.5:
                self.site.run("decommission", f"{CREW}/{orchestrator.name}")
        self.statuses[orchestrator.wait()] += 1
        assert self.site.serving is not None
        if self.site.serving.poll() is not None:
            self.site.serve()

    def kill(self, victim: str, orchestrator: Running) -> None:
        children = _children(orchestrator.process.pid)
        if victim == "child":
            for pid in children:
                _kill(pid)
        if "supervisor" in victim:
            orchestrator.process.kill()
            orchestrator.process.wait()
            killed = time.monotonic()
            wait_until(lambda: not any(is_running(pid) for pid in children))
            self.orphaned_ms += [(time.monotonic() - killed) * 1000] * bool(children)
        if "gateway" in victim:
            assert self.site.serving is not None
            self.site.serving.kill()
            self.site.serving.wait()
        for pid in self.site.children({"worker": "gateway", "agent": "agent"}.get(victim, "none")):
            _kill(pid)


def test_no_ended_orchestrator_has_a_certificate_that_passes(tmp_path: Path) -> None:
    """After the next start: all revoked, in the list, known to the gateway; and nothing runs."""
    with installed(tmp_path, price="0.001", workers=1) as site:
        print(f"seed {SEED}")
        storm = Storm(site)
        for number in range(ROUNDS):
            storm.round(number)
        site.run("status", "--wait", "100")
        begun = time.monotonic()
        with running(site, "next", "true") as following:
            assert following.wait() == 0, following.said
        took = time.monotonic() - begun
        entries = _entries(site)
        assert len(entries) > max(1, ROUNDS / 4)  # the first round has one, and the next start
        _check(site, entries)
        orphaned = sorted(storm.orphaned_ms) or [0.0]
        print(
            f"{ROUNDS} rounds, killed {dict(storm.killed)}, ended with {dict(storm.statuses)}; "
            f"{len(entries)} certificates, none passes; CMD outlived its supervisor by "
            f"{orphaned[len(orphaned) // 2]:.0f} ms (median) and {orphaned[-1]:.0f} ms (most); "
            f"the next start, with all that was left to do, took {took:.1f} s"
        )


def _entries(site: Installation) -> list[CertificateRecord]:
    """Of orchestrators; the gateway's own is good all the time."""
    with CertificateDB(site.folder / "ca" / "issued.sqlite") as register:
        wait_until(lambda: not register.pending())  # the gateway has heard of all that was revoked
        return [entry for entry in register.all() if entry.crew]


def _check(site: Installation, entries: list[CertificateRecord]) -> None:
    with OrchestratorRunStore(site.folder / "ca" / "issued.sqlite") as lives:
        assert not lives.open()
    assert {entry.status(0) for entry in entries} == {"revoked"}
    listed = x509.load_pem_x509_crl((site.folder / "certs" / "crl.pem").read_bytes())
    known = (site.folder / "state" / "revocations").read_text()
    for entry in entries:
        serial = int(entry.serial, 16)
        assert listed.get_revoked_certificate_by_serial_number(serial) is not None, entry
        assert certificate_key(entry.crew, serial).hex() in known, entry
        assert "revoked" in _openssl(site, entry), entry
    for instance in {entry.instance for entry in entries}:
        assert not _marked(instance)


def _openssl(site: Installation, entry: CertificateRecord) -> str:
    """What an independent verifier says of a certificate, with the list at hand."""
    leaf = site.folder / "leaf.pem"
    leaf.write_text(entry.pem)
    ca = load(site.file).ca
    assert ca is not None
    files = ["-CAfile", ca.root, "-untrusted", ca.issuing, "-CRLfile", ca.crl, leaf]
    done = subprocess.run(
        ["openssl", "verify", "-crl_check", "-no_check_time", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    return done.stdout + done.stderr


def _marked(instance: bytes) -> list[int]:
    mark, found = f"CREWGATE_INSTANCE={instance.hex()}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def _children(parent: int) -> list[int]:
    """Of a supervisor: CMD, if it has been started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
