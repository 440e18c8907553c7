"""A whole gateway under load on a disk that is cloned, and what a start on the clone remembers.

Clients call tools that cost credits, and branches are revoked meanwhile. At an instant at which all
processes of the gateway are stopped, its disk is cloned; the clone is served in a network namespace
of its own, where the ports are free. That start also has to say what the audit may have lost, and
what the comparison with the ledger finds.
"""

import json
import re
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from command_process import crewgate
from installation import Installation, Premises, wait_until
from power_disk import clone, make, mounted

from crewgate import Denial, Permit, Reason, Verifier
from crewgate.agent import machine_crash_audit_loss
from crewgate.audit.folder import files
from crewgate.config.load import load
from crewgate.core.audit.json_line import decode
from crewgate.core.audit.records import CallRecord, Record, ServiceEvent
from crewgate.core.credits import MICRO
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import CrewgateError
from crewgate.ipc.admin_client import AdminClient
from crewgate.issuer import SubAgent

CREDITS, PRICE_MICRO = 1000, 10_000
BRANCHES = 6
DISK_BYTES = 512 * 2**20
# The audit is synced once a second: what is older than this is there, however slow the disk.
AUDIT_SECONDS = 3.0
# What a start says once it has compared: all is there, or so many branches lack lines.
COMPARED = re.compile(
    r"the audit accounts for all credit|(\d+) branch(?:es)? spent [\d.]+ credits for which"
)
# Where all ports are free, and the kernel was booted anew: what a table says of calls is for one
# boot, since a power loss leaves an older one on the disk.
ALONE = (
    *("unshare", "-n", "-m", "--", "sh", "-c"),
    'ip link set lo up && mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@"',
    "sh",
)


class Load:
    """Callers and one who revokes; what they were told, and when."""

    def __init__(self, site: Installation) -> None:
        self.site = site
        self.answered: list[tuple[float, str]] = []  # when, and the branch of a call that was paid
        self.revoked: dict[str, str] = {}  # branches, each with a token that is dead
        self._article = site.orchestrator()
        self._over = threading.Event()
        self._callers = [self._new() for _ in range(BRANCHES)]
        self._threads = [
            *(threading.Thread(target=self._call, args=(each,)) for each in self._callers),
            threading.Thread(target=self._revoke),
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Once all have heard of it."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def is_under_way(self) -> bool:
        """Whether there is something of each kind to lose."""
        return len(self.answered) > 100 and len(self.revoked) > 2

    def _new(self) -> SubAgent:
        return self._article.start_run(credits=str(CREDITS), tools=["search.*"])

    def _call(self, agent: SubAgent) -> None:
        head = {"authorization": f"Bearer {agent.token()}"}
        with httpx.Client(
            verify=ssl.create_default_context(cafile=self.site.folder / "certs" / "ca.pem"),
            base_url=f"https://127.0.0.1:{self.site.port}",
            timeout=60,
            trust_env=False,
        ) as client:
            while not self._over.is_set():
                if client.post("/search", headers=head, json={}).status_code == 200:
                    self.answered.append((time.monotonic(), agent.branch))

    def _revoke(self) -> None:
        while not self._over.is_set():
            agent = self._new()
            token = agent.token()
            target = RevocationTarget(EntityKind.BRANCH, agent.branch, "article")
            with AdminClient(self.site.folder / "state") as owner:
                if owner.revoke([target], "local").reach.enough:
                    self.revoked[agent.branch] = token
            self._over.wait(0.05)


class Seen:
    """What had been acknowledged when all processes stood still."""

    def __init__(self, load: Load) -> None:
        time.sleep(0.2)  # the answers that were on their way are heard
        self.at = time.monotonic()
        self.answered = [*load.answered]
        self.revoked = dict(load.revoked)


class Copy(Premises):
    """The gateway that is found on a clone; it is served where nobody hears it."""

    def __init__(self, folder: Path) -> None:
        boot = folder / "boot_id"
        boot.write_text(f"{uuid.uuid4()}\n")
        self._stand_in(folder / "gateway", (*ALONE, str(boot)))


@contextmanager
def loaded(folder: Path) -> Iterator[tuple[Installation, Load, Path, str]]:
    """A gateway under load on a disk; the disk's image and its device."""
    image = make(folder / "gateway.img", DISK_BYTES)
    with mounted(image, folder / "gateway-disk") as device:
        site = Installation(folder / "gateway-disk", price="0.01")
        try:
            site.serve()
            load = Load(site)
            try:
                wait_until(load.is_under_way)
                yield site, load, image, device
            finally:
                load.end()
        finally:
            site.end()


def lost(found: Copy, seen: Seen) -> list[str]:
    """What a gateway does not know that is served from a clone."""
    changed = _audit_changed(found)
    try:
        found.serve()
        missing = [
            *_revocations_lost(found, seen),
            *_money_lost(found, seen),
            *_lines_lost(found, seen),
            *words_lost(found),
        ]
    finally:
        found.end()
    return [*changed, *missing, *_audit_changed(found)]


def _audit_changed(found: Copy) -> list[str]:
    """What the verification of the audit finds: a power loss changes nothing that was signed."""
    done = crewgate("audit", "verify", "--json", "-c", str(found.file))
    return [f"{each['file']}: {each['why']}" for each in json.loads(done.stdout)["findings"]]


def _revocations_lost(found: Copy, seen: Seen) -> Iterator[str]:
    """Asked where the boot is that the table is of."""
    assert found.serving is not None
    place = ("nsenter", "-t", str(found.serving.pid), "-n", "-m", "--")
    done = subprocess.run(
        [*place, sys.executable, __file__, str(found.file)],
        input=json.dumps(seen.revoked),
        capture_output=True,
        text=True,
        check=True,
    )
    yield from json.loads(done.stdout)


def admitted(file: Path, revoked: Mapping[str, str]) -> Iterator[str]:
    """The branches whose tokens are not refused for their revocation."""
    with Verifier.from_config(file) as verifier:
        for branch, token in revoked.items():
            verdict = verifier.admit_blocking(token, "search.web")
            if not isinstance(verdict, Denial) or verdict.reason is not Reason.BRANCH_REVOKED:
                yield f"revocation of {branch}: {verdict!r}"
            if isinstance(verdict, Permit):
                verdict.release()


def _money_lost(found: Copy, seen: Seen) -> Iterator[str]:
    """A branch must not have back what it had spent, and the sums must agree."""
    spent = Counter(branch for _, branch in seen.answered)
    rows = {row["branch"]: row for row in found.ask("ledger", "report", "--by", "branch")["rows"]}
    for branch, calls in spent.items():
        left = rows[branch]["left_micro"] if branch in rows else CREDITS * MICRO
        if left > CREDITS * MICRO - calls * PRICE_MICRO:
            yield f"credits of {branch}: {left} micro are left after {calls} calls"
    check = crewgate("ledger", "check", "-c", found.file)
    if check.returncode != 0:
        yield f"ledger check: {check.stdout}{check.stderr}"


def _lines_lost(found: Copy, seen: Seen) -> Iterator[str]:
    """Of the calls that were answered in good time before the power went."""
    owed = Counter(branch for at, branch in seen.answered if at < seen.at - AUDIT_SECONDS)
    there = Counter(each.branch for each in _recorded(found) if isinstance(each, CallRecord))
    for branch, calls in owed.items():
        if there[branch] < calls:
            yield f"audit of {branch}: {there[branch]} calls of {calls}"


def words_lost(found: Premises) -> Iterator[str]:
    """A start after a power loss says what may be lost, and which branches lack lines.

    The log says it. If branches lack lines, the audit says it too.
    """
    log = found.folder / "serve.log"
    wait_until(lambda: COMPARED.search(log.read_text()))
    if machine_crash_audit_loss.sync_promise(load(found.file).audit) not in log.read_text():
        yield "the log does not say what the audit may have lost"
    said = [0 if each[1] is None else int(each[1]) for each in COMPARED.finditer(log.read_text())]
    reconciled = json.loads(crewgate("ledger", "reconcile", "--json", "-c", found.file).stdout)
    rows = reconciled["differences"]
    more = sum(row["ledger_spent_micro"] > row["audit_spent_micro"] for row in rows)
    if said[-1] != more:
        yield f"the log names {said[-1]} branches that lack lines, and there are {more}"
    if more:
        wait_until(lambda: any(
            isinstance(each, ServiceEvent) and (each.event, each.count) == ("audit-lost", more)
            for each in _recorded(found)
        ))  # fmt: skip


def _recorded(found: Premises) -> Iterator[Record]:
    """All of an audit; what the loss has torn is passed over."""
    for path in files(found.folder / "state" / "audit"):
        for line in path.read_bytes().split(b"\n"):
            with suppress(ValueError):
                yield decode(line)


def clones(folder: Path, count: int, between_seconds: float) -> Iterator[list[str]]:
    """What a gateway lacks that is served from each of so many clones."""
    with loaded(folder) as (site, load, image, device):
        for _ in range(count):
            time.sleep(between_seconds)
            copy = folder / "gateway-copy.img"
            with site.stopped() as processes:
                seen = clone(device, image, copy, processes[0], lambda: Seen(load))
            with mounted(copy, folder / "gateway-copy"):
                found = Copy(folder / "gateway-copy")
                try:
                    yield lost(found, seen)
                except (AssertionError, CrewgateError, subprocess.CalledProcessError) as error:
                    log = (found.folder / "serve.log").read_text()[-2000:]
                    yield [f"{type(error).__name__}: {error}", log]


if __name__ == "__main__":
    print(json.dumps([*admitted(Path(sys.argv[1]), json.load(sys.stdin))]))
