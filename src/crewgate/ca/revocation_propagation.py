"""Has the agent of this machine apply revocations that are in the CA's register.

The agent writes all targets of one request into the table at once, and has every process close the
calls and connections concerned. Only then are the revocations marked as announced in the register.
So after a crash the next process finds the revocations that still need this.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from crewgate import limits
from crewgate.ca.certificate_db import CertificateDB, CertificateRecord
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import QuorumResult, RevocationReceipt

_UNSPECIFIED = "unspecified"  # the reason of a certificate without one (RFC 5280)


def sum_of(done: RevocationReceipt, step: RevocationReceipt) -> RevocationReceipt:
    """Return the receipt of both steps; its quorum result is that of the less complete step."""
    return RevocationReceipt(
        targets=[*done.targets, *step.targets],
        read_ns=done.read_ns or step.read_ns,
        last_cut_ns=max(done.last_cut_ns, step.last_cut_ns),
        cut_ms=max(done.cut_ms, step.cut_ms),
        calls_cut=done.calls_cut + step.calls_cut,
        connections_closed=done.connections_closed + step.connections_closed,
        attachments=max(done.attachments, step.attachments),
        unresponsive=max(done.unresponsive, step.unresponsive),
        unlisted=done.unlisted + step.unlisted,
        never_seen=done.never_seen or step.never_seen,
        never_seen_on=done.never_seen_on or step.never_seen_on,
        runs_ended=done.runs_ended + step.runs_ended,
        runs_unasked=max(done.runs_unasked, step.runs_unasked),
        reach=max(done.reach, step.reach, key=_shortfall) if done.read_ns else step.reach,
    )


def _shortfall(reach: QuorumResult) -> tuple[bool, int, float]:
    return not reach.enough, reach.of - reach.applied_on, reach.ms


def announce(
    register: CertificateDB,
    state: Path,
    entries: Sequence[CertificateRecord],
    more: Sequence[RevocationTarget] = (),
    *,
    by: str = "",
    wall: Callable[[], float] = time.time,
) -> RevocationReceipt:
    """Have the agent of the state folder `state` revoke `more` and certificates, in that order.

    Targets that fit into one request are revoked in one step; the receipt sums up all steps. If a
    step fails, all `entries` stay pending in the register. `by` is as in `AdminClient.revoke`.
    Raises ServiceConnectionError if the agent is unavailable, and ServiceRefusedError if it
    refuses. Blocks.
    """
    now = wall()
    done = RevocationReceipt()
    targets = [*more, *(_target(entry, now) for entry in entries)]
    size = limits.ipc_targets_max
    reasons = {entry.reason for entry in entries} - {"", _UNSPECIFIED}
    reason = reasons.pop() if len(reasons) == 1 else ""
    with AdminClient(state) as agent:
        for first in range(0, len(targets), size):
            some = targets[first : first + size]
            done = sum_of(done, agent.revoke(some, by=by, reason=reason))
    register.announced(entry.serial for entry in entries)
    return done


def _target(entry: CertificateRecord, now: float) -> RevocationTarget:
    left = min(max(0, entry.not_after - int(now)), limits.gateway_life_seconds_max)
    return RevocationTarget(EntityKind.CERTIFICATE, entry.serial, entry.crew, seconds=left)
