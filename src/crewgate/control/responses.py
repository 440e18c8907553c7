"""Converts results of the agent and the CA into responses of the control API."""

import re
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import msgspec
from cryptography import x509

from crewgate.api import schemas
from crewgate.api.branch_tree_snapshot import BranchTreeSnapshot
from crewgate.api.health_response import health_response
from crewgate.ca.certificate_db import CertificateRecord
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import CAError
from crewgate.ipc.admin_messages import RevocationReceipt
from crewgate.ipc.cluster_tree import ClusterTreeRow
from crewgate.ipc.cluster_view import ClusterRevocations, ClusterStatus, ClusterTree

_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # RFC 1123 §2.1
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII | re.IGNORECASE)
_HOST_CHARS_MAX = 253  # RFC 1035 §2.3.4, without lengths and root
_AMOUNTS = ("quota", "spent", "reserved", "burned", "left", "leased")


def revoked(
    target: RevocationTarget,
    receipt: RevocationReceipt | None,
    entries: Sequence[CertificateRecord] = (),
    unwritten: str = "",
) -> schemas.RevocationResponse:
    """Return the response for a revocation; `receipt` is None if the agent is unavailable.

    `entries` are the certificates that were revoked with `target`. Orchestrators get no
    `never_seen`: the CA's register knows better than the agent which of them exist.
    """
    done = receipt or RevocationReceipt()
    # Fields of the receipt that have the same name in the response keep their values.
    fields = msgspec.structs.asdict(done) | msgspec.structs.asdict(done.reach)
    fields |= {
        "target": target.rules.label,
        "id": target.name,
        "crew": target.crew,
        "ms": max(done.reach.ms, done.cut_ms),
        "processes": done.attachments,
        "certificates": [entry.serial for entry in entries],
        "unwritten": unwritten,
    }
    if receipt is None:
        fields |= {"applied_on": 0, "missing": ["this machine"], "enough": False}
    if not target.rules.of_configured_crew:
        fields |= {"never_seen": "", "never_seen_on": 0}
    return msgspec.convert(fields, schemas.RevocationResponse)


def branch(row: ClusterTreeRow) -> schemas.BranchResponse:
    """Convert a row of the agent's tree: the names of its amounts get their unit."""
    fields = _with_unit(msgspec.structs.asdict(row))
    fields["machines"] = [_with_unit(msgspec.structs.asdict(each)) for each in row.machines]
    return msgspec.convert(fields, schemas.BranchResponse)


def branches(found: ClusterTree) -> BranchTreeSnapshot:
    """Convert the tree of all machines."""
    answered = schemas.BranchesResponse(
        branches=[],
        machines=found.machines,
        asked=found.asked,
        not_asked=found.not_asked,
        left_out=found.left_out,
        minutes=dict(found.minutes),
        totals=[
            schemas.CallTotal(
                machine=machine,
                crew=each.crew,
                tool=each.tool,
                calls=each.calls,
                refused=each.refused,
                spent_micro=each.spent,
            )
            for machine, totals in found.totals.items()
            for each in totals
        ],
    )
    return BranchTreeSnapshot([branch(row) for row in found.rows], answered)


def _with_unit(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {f"{name}_micro": fields[name] for name in _AMOUNTS if name in fields}


def revocations(found: ClusterRevocations) -> schemas.RevocationsResponse:
    """Convert the revocations of all machines."""
    return schemas.RevocationsResponse(
        revocations=found.rows,
        total=found.total,
        machines=found.machines,
        asked=found.asked,
        not_asked=found.not_asked,
    )


def machines(found: ClusterStatus) -> schemas.MachinesResponse:
    """Convert the health of all machines."""
    return schemas.MachinesResponse(
        machines=[
            schemas.MachineHealth(machine=name, **msgspec.structs.asdict(health_response(each)))
            for name, each in found.machines.items()
        ],
        asked=found.asked,
        not_asked=found.not_asked,
    )


def host(text: str) -> x509.GeneralName:
    """Parse a DNS name or IP address for a certificate; CAError."""
    with suppress(ValueError):
        return x509.IPAddress(ip_address(text))
    if len(text) > _HOST_CHARS_MAX or not _HOST.fullmatch(text):
        raise CAError(f"{text[:64]!r} is neither a DNS name nor an IP address")
    return x509.DNSName(text)
