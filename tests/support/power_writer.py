"""Writes what a machine must remember, and says of each thing when it is acknowledged.

`python power_writer.py FOLDER MATERIAL`: state goes below FOLDER; MATERIAL has the root and the
credentials of gateways. A line on standard output stands for the answer to a caller: what
it names must be there after a power loss. With POWER_UNSYNCED nothing is synced, and much is lost.
"""

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import tokens
from certificates_written import NOW, entry
from gossip_capsules import capsule

from crewgate.agent.journal_file import JournalFile
from crewgate.audit.writer import AuditWriter, RotationPolicy
from crewgate.ca.certificate_db import CertificateDB
from crewgate.core.audit.records import ServiceEvent, when
from crewgate.core.gossip.quorum_freshness import QuorumFreshness
from crewgate.core.tokens.claims import Claims
from crewgate.core.x509.certificate import serial_text
from crewgate.gossip.capsule_journal import CapsuleJournal
from crewgate.gossip.member_certificate_store import MemberCertificateStore
from crewgate.gossip.member_verification import CertificateVerifier, SignedMemberRecord
from crewgate.gossip.quorum_view_file import QuorumViewFile
from crewgate.issuer.journal.journal_entries import MintRecord
from crewgate.issuer.journal.mint_journal import MintJournal
from crewgate.issuer.token_files.token_file import write_token

CLUSTER = bytes(16)
CLAIMS = msgspec.convert(tokens.CLAIMS, Claims)


class Line(msgspec.Struct, frozen=True):
    """Of the agent's journal."""

    number: int


def say(*words: object) -> None:
    """This is acknowledged."""
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


def credentials(material: Path) -> list[SignedMemberRecord]:
    """Gateways' credentials."""
    return msgspec.msgpack.decode(
        (material / "credentials").read_bytes(), type=list[SignedMemberRecord]
    )


def quiet(_: str) -> None:
    """What a component says is not looked at here."""


def members(folder: Path, material: Path) -> Iterator[None]:
    """Members come, and every second one is evicted again."""
    store = MemberCertificateStore(
        folder / "gossip", CertificateVerifier(material / "root.pem"), CLUSTER
    )
    standing = QuorumViewFile(folder / "gossip" / "standing")
    fresh = QuorumFreshness(b"", counts=True)
    for number, credential in enumerate(credentials(material)):
        known = store.admit(credential)
        store.flush()
        fresh.merge([known.id], [known.id])
        standing.save(fresh)
        say("member", known.id.hex())
        yield
        if number % 2:
            store.evict(known.id, known.issued)
            say("gone", known.id.hex())
            yield


def agent_lines(folder: Path) -> Iterator[None]:
    """A line each, and now and then the file is rewritten."""
    journal = JournalFile(folder / "revocations", Line)
    journal.rewrite([])
    for number in itertools.count():
        journal.append(Line(number))
        journal.sync()
        say("line", number)
        yield
        if number % 7 == 6:
            journal.rewrite(Line(each) for each in range(number + 1))


def mints(folder: Path) -> Iterator[None]:
    """Each is journalled before its token is given."""
    journal = MintJournal(folder / "issuer" / "journal.jsonl")
    list(journal.entries())
    for number in itertools.count():
        journal.append(MintRecord(float(number), CLAIMS))
        say("mint", number)
        yield


def capsules(folder: Path) -> Iterator[None]:
    """What others were told that it is on this disk."""
    log = CapsuleJournal(folder / "capsules", quiet)
    for number in itertools.count(1):
        raw = capsule(number, life=36_000 + number % 3 * 36_000).raw
        log.append([raw])
        log.sync()
        say("capsule", raw.hex())
        yield


def certificates(folder: Path) -> Iterator[None]:
    """Issued, and every other one revoked."""
    folder = folder / "ca"
    folder.mkdir()
    register = CertificateDB(folder / "issued.sqlite", is_new=True)
    for number in itertools.count(1):
        register.add(entry(number))
        say("issued", serial_text(number))
        yield
        if number % 2:
            register.revoke([serial_text(number)], "unspecified", NOW)
            say("revoked", serial_text(number))
            yield


def tokens_written(folder: Path) -> Iterator[None]:
    """One file, replaced again and again."""
    (folder / "tokens").mkdir()
    for number in itertools.count():
        write_token(folder / "tokens" / "token", f"token-{number:06}")
        say("token", number)
        yield


def audited(folder: Path, sync: str) -> Iterator[None]:
    """Lines; of those that are synced once a second, as many as the disk has."""
    rotation = RotationPolicy(bytes_max=20_000, sync=sync)  # type: ignore[arg-type]
    writer = AuditWriter(folder / f"audit-{sync}", "worker-1", rotation, reserved_bytes=0)
    said = 0
    for number in itertools.count(1):
        writer.write(ServiceEvent(time=when(time.time_ns()), event="test", count=number))
        safe = number if sync == "each" else writer._syncer._synced_count
        if safe > said:
            say(f"audit-{sync}", safe)
            said = safe
        yield


def main(folder: Path, material: Path) -> None:
    """Write all kinds in turn, until the test ends this process."""
    if "POWER_UNSYNCED" in os.environ:
        nothing: Callable[[int], None] = lambda _descriptor: None  # noqa: E731
        os.fsync = os.fdatasync = nothing
    kinds = [
        members(folder, material),
        agent_lines(folder),
        mints(folder),
        capsules(folder),
        certificates(folder),
        tokens_written(folder),
        audited(folder, "each"),
        audited(folder, "second"),
    ]
    while True:
        for each in kinds:
            next(each, None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
