"""`make power-loss`: disks cloned under load, as a power loss leaves them, and what they remember.

`python power_loss.py [--clones 30]`. For root, on a machine that mounts loop devices. A process
writes all that a machine must remember; at some instants the disk is cloned, mounted anew, and read
as a next start would. Then the same with a whole gateway under load, which is served from each
clone. Ends with status 1 if something that was acknowledged is not there.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import power_gateway
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gossip_members import Authority, chain_of
from power_disk import clone, make, mounted, why_not
from power_writer import CLUSTER, Line, quiet

from crewgate.agent.journal_file import JournalFile
from crewgate.audit.folder import files
from crewgate.ca.certificate_db import CertificateDB
from crewgate.core.audit.json_line import decode
from crewgate.core.audit.records import ServiceEvent
from crewgate.core.gossip.quorum_freshness import QuorumFreshness
from crewgate.gossip.capsule_journal import CapsuleJournal
from crewgate.gossip.member_certificate_store import MemberCertificateStore
from crewgate.gossip.member_verification import CertificateVerifier, SignedMemberRecord
from crewgate.gossip.quorum_view_file import QuorumViewFile
from crewgate.issuer.journal.journal_entries import MintRecord
from crewgate.issuer.journal.mint_journal import MintJournal
from crewgate.issuer.token_files.token_file import read_token

GATEWAYS = 200
HOST = bytes(10) + b"\xff\xff\x0a\0\0\1"
_BETWEEN_SECONDS = 0.7  # two clones: some instants before the kernel writes by itself, some after


class Told:
    """What the writer has acknowledged so far, by kind."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line.decode().strip())

    def settle(self) -> dict[str, list[str]]:
        """All that has been said by a process that is stopped."""
        before = -1
        while before != len(self._lines):
            before = len(self._lines)
            time.sleep(0.05)
        return self.now()

    def has(self, *kinds: str) -> bool:
        """Whether something of each of these was acknowledged."""
        assert self._process.poll() is None, "the writer has ended"
        return set(kinds) <= set(self.now())

    def now(self) -> dict[str, list[str]]:
        """Kinds, each with what was acknowledged."""
        found: dict[str, list[str]] = {}
        for line in [*self._lines]:
            kind, _, what = line.partition(" ")
            found.setdefault(kind, []).append(what)
        return found


def material_in(folder: Path, gateways: int = GATEWAYS) -> Path:
    """A root, and credentials of gateways."""
    folder.mkdir()
    authority = Authority(folder)
    shown = []
    key = Ed25519PrivateKey.generate()
    for number in range(gateways):
        made = authority.certify(folder / "gateway", f"m{number}", key)
        shown.append(SignedMemberRecord(chain_of(made.certificate), HOST, 1).signed_by(key.sign, 1))
    (folder / "credentials").write_bytes(msgspec.msgpack.encode(shown))
    return folder


@contextmanager
def writing(folder: Path, material: Path, *, synced: bool) -> Iterator[tuple[int, Told]]:
    """A writer at work; its pid, and what it says."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    if not synced:
        environment["POWER_UNSYNCED"] = "1"
    command = [sys.executable, str(Path(__file__).with_name("power_writer.py"))]
    process = subprocess.Popen(
        [*command, str(folder), str(material)], stdout=subprocess.PIPE, env=environment
    )
    try:
        yield process.pid, Told(process)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def lost(folder: Path, material: Path, told: dict[str, list[str]]) -> list[str]:
    """What was acknowledged and is not there, by the code that a next start runs."""
    found = [*_members_lost(folder, material, told)]
    lines = JournalFile(folder / "revocations", Line).read()
    found += _missing("line", told, {str(line.number) for line in lines})
    if "mint" in told:
        journal = MintJournal(folder / "issuer" / "journal.jsonl")
        minted = {str(int(each.at)) for each in journal.entries() if isinstance(each, MintRecord)}
        journal.close()
        found += _missing("mint", told, minted)
    if "capsule" in told:
        log = CapsuleJournal(folder / "capsules", quiet)
        found += _missing("capsule", told, {raw.hex() for raw in log.replay(0)})
    if "issued" in told:
        with CertificateDB(folder / "ca" / "issued.sqlite") as register:
            entries = register.all()
        found += _missing("issued", told, {each.serial for each in entries})
        dead = {each.serial for each in entries if each.revoked is not None}
        found += _missing("revoked", told, dead)
    if "token" in told:
        number = int(read_token(folder / "tokens" / "token").removeprefix("token-"))
        if number < int(told["token"][-1]):
            found.append(f"token {told['token'][-1]}")
    for sync in ("each", "second"):
        safe = max(map(int, told.get(f"audit-{sync}", ["0"])))
        found += [f"audit-{sync} {each}" for each in _absent(folder / f"audit-{sync}", safe)]
    return found


def _missing(kind: str, told: dict[str, list[str]], there: set[str]) -> list[str]:
    return [f"{kind} {each}" for each in told.get(kind, []) if each not in there]


def _absent(folder: Path, safe: int) -> list[int]:
    there = set()
    for path in files(folder) if folder.exists() else ():
        for line in path.read_bytes().split(b"\n"):
            try:
                record = decode(line)
            except ValueError:  # the last one may be torn
                continue
            assert isinstance(record, ServiceEvent)
            there.add(record.count)
    return [number for number in range(1, safe + 1) if number not in there]


def _members_lost(folder: Path, material: Path, told: dict[str, list[str]]) -> Iterator[str]:
    """Also a member that counts and has no certificate: no machine can ask it."""
    trust = CertificateVerifier(material / "root.pem")
    store = MemberCertificateStore(folder / "gossip", trust, CLUSTER)
    said = store.restore(int(time.time()))
    yield from said
    gone = {bytes.fromhex(each) for each in told.get("gone", [])}
    for member in map(bytes.fromhex, told.get("member", [])):
        if store.get(member) is None:
            yield f"member {member.hex()}"
    for member in gone:
        if member in store or member not in store.gone:
            yield f"gone {member.hex()}"
    fresh = QuorumFreshness(b"")
    QuorumViewFile(folder / "gossip" / "standing").restore(fresh)
    for member in fresh.others:
        if store.get(member) is None:
            yield f"certificate of {member.hex()}, which counts"


def clones(folder: Path, count: int, *, synced: bool = True) -> list[list[str]]:
    """What each of so many clones lacks."""
    material = material_in(folder / "material", GATEWAYS if count > 10 else 40)
    image, copy = make(folder / "disk.img"), folder / "copy.img"
    found = []
    with (
        mounted(image, folder / "disk") as device,
        writing(folder / "disk", material, synced=synced) as (process, told),
    ):
        while not told.has("gone", "revoked", "audit-second"):
            time.sleep(0.05)
        for _ in range(count):
            time.sleep(_BETWEEN_SECONDS)
            known = clone(device, image, copy, process, told.settle)
            with mounted(copy, folder / "copy"):
                found.append(lost(folder / "copy", material, known))
    return found


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clones", type=int, default=30)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        why = why_not(folder)
        if why:
            print(f"no power loss can be tried here: {why}")
            return 2
        parts = {
            "clone": clones(folder, asked.clones),
            "clone of a gateway": power_gateway.clones(folder, asked.clones, _BETWEEN_SECONDS),
        }
        is_lost = False
        for name, found in parts.items():
            for number, each in enumerate(found):
                what = ", ".join(each) if each else "all that was acknowledged"
                print(f"{name} {number}: {what}", flush=True)
                is_lost |= bool(each)
    return 1 if is_lost else 0


if __name__ == "__main__":
    sys.exit(main())
