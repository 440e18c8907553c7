"""A revoked certificate, made known on this machine: from the register to the agent's table.

The agent enters all of a step into the table at once and has every process close what is open. Only
then is the register told, so that whoever starts after a crash finds what is still to be done.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.ca.certificate_db import CertificateDB, CertificateRecord
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import NamesReceipt, NeverSeen, QuorumResult, RevocationTarget


class PropagationResult(msgspec.Struct, frozen=True):
    """What the agent did, added up over the steps that one question can carry."""

    read_ns: int = 0  # when the agent had read the first question (CLOCK_MONOTONIC)
    calls_cut: int = 0
    connections_closed: int = 0
    cut_ms: float = 0.0
    attachments: int = 0  # processes that were told
    silent: int = 0  # of them, those that gave no answer in time
    unlisted: int = 0  # certificates that the table had no room for
    reach: QuorumResult = QuorumResult()  # of the step that came least far
    never_seen: NeverSeen = ""  # the orchestrator that is ended
    never_seen_on: int = 0

    def plus(self, receipt: NamesReceipt) -> "PropagationResult":
        """Add a step."""
        return PropagationResult(
            self.read_ns or receipt.read_ns,
            self.calls_cut + receipt.calls_cut,
            self.connections_closed + receipt.connections_closed,
            max(self.cut_ms, receipt.cut_ms),
            max(self.attachments, receipt.attachments),
            max(self.silent, receipt.silent),
            self.unlisted + receipt.unlisted,
            max(self.reach, receipt.reach, key=_left) if self.read_ns else receipt.reach,
            self.never_seen or receipt.never_seen,
            self.never_seen_on or receipt.never_seen_on,
        )


def _left(reach: QuorumResult) -> tuple[bool, int, float]:
    return not reach.enough, reach.of - reach.applied_on, reach.ms


def announce(
    register: CertificateDB,
    state: Path,
    entries: Sequence[CertificateRecord],
    more: Sequence[RevocationTarget] = (),
    *,
    wall: Callable[[], float] = time.time,
) -> PropagationResult:
    """Have the agent of `state` revoke these, and `more` in the same step as the first of them.

    LinkError if it is away, RefusedError if it will not; what was not told stays pending. Blocks.
    """
    now = wall()
    done = PropagationResult()
    names = [*more, *(_name(entry, now) for entry in entries)]
    size = limits.link_names_max
    with AdminClient(state) as owner:
        for first in range(0, len(names), size):
            done = done.plus(owner.revoke_names(names[first : first + size]))
    register.announced(entry.serial for entry in entries)
    return done


def _name(entry: CertificateRecord, now: float) -> RevocationTarget:
    left = min(max(0, entry.not_after - int(now)), limits.gateway_life_seconds_max)
    return RevocationTarget(kind="certificate", crew=entry.crew, name=entry.serial, seconds=left)
