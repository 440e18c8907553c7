"""A member after a storm: its memory, how soon it restarts, and how soon a new one has it all.

The storm is on the first machine's disk, signed by it in a life before, and expires as if 500 a
second had come from it. That machine starts, and then a second one that knows nothing syncs with
it over loopback.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench.cluster import member
from bench.cluster.costs import PER_SECOND
from bench.cluster.machines import arrange
from bench.cluster.members import Member, serving
from crewgate.config import Config
from crewgate.core.gossip import capsules
from crewgate.gossip.capsule_journal import CapsuleJournal
from crewgate.gossip.member_verification import CertificateVerifier

MILLION = 1_000_000


@dataclass(frozen=True)
class After:
    """Of so many revocations, so many a capsule; memory is resident, in 10^6 bytes."""

    revocations: int
    entries: int  # a capsule
    host: str
    empty_megabytes: float  # before there is any
    restart_seconds: float  # from the start of the process; within it, `restored_seconds`
    restored_seconds: float
    restarted_megabytes: float
    fresh_seconds: float  # from the start of its process
    fresh_cpu_seconds: float
    fresh_megabytes: float
    giving_megabytes: float  # of who has handed all of it over
    peak_megabytes: float  # the most that either ever was

    @property
    def name(self) -> str:
        """For a person."""
        return f"{self.entries} a capsule, a machine {self.host}"

    def at_a_million(self, value: float) -> float:
        """As much for a million."""
        return value * MILLION / self.revocations


def measure(folder: Path, revocations: int, entries: int, *, table: bool) -> After:
    """One storm; with `table`, both machines enter it into one that has just room for it."""
    first, second = arrange(folder, 2)
    host = str(1 << (2 * revocations - 1).bit_length() - 1) if table else "counting"
    with serving([first], host) as (alone,):
        empty = alone.megabytes
    fill(first, revocations, entries)
    count = -(-revocations // entries)
    origin = Member(first, host)
    try:
        origin.wait_for_start()
        if origin.first["capsules"] != count:
            raise SystemExit(f"bench: a member lost some of {count} capsules: {origin.first}")
        restarted = origin.megabytes
        fresh = Member(second, host)
        try:
            fresh.wait_for_start()
            seconds = fresh.wait(lambda state: state["capsules"] == count)
            return After(
                revocations,
                entries,
                "with a table" if table else "that counts",
                empty,
                origin.started_seconds,
                origin.first["restored_seconds"],
                restarted,
                seconds,
                fresh.cpu,
                fresh.megabytes,
                origin.megabytes,
                max(origin.peak_megabytes, fresh.peak_megabytes),
            )
        finally:
            fresh.end()
    finally:
        origin.end()


def fill(config: Config, revocations: int, entries: int) -> None:
    """Put a storm of this machine's on its disk."""
    me = member.me_of(config)
    wall = int(time.time())
    log = CapsuleJournal(me.folder, print)
    origin = CertificateVerifier(me.root).read(me.credential).id
    line, previous = origin + os.urandom(capsules.EPOCH_BYTES), capsules.NONE
    for number, at in enumerate(range(0, revocations, entries), 1):
        revoked = [
            member.entry(origin + each.to_bytes(member.KEY_BYTES // 2), wall + at // PER_SECOND)
            for each in range(at, min(at + entries, revocations))
        ]
        capsule = capsules.unsigned(line, number, wall, revoked, previous)
        capsule = capsules.seal(capsule, me.signing.sign(capsule.signed(me.cluster)))
        previous = capsules.digest_of(capsule.raw)
        log.append([capsule.raw])
    log.sync()
    log.close()
