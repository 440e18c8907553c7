"""What the control process found out, in the words of its API."""

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Literal

import msgspec
from cryptography import x509

from crewgate.api.schemas import (
    BranchResponse,
    ComponentProblem,
    HealthResponse,
    RevocationResponse,
)
from crewgate.ca.certificate_db import CertificateRecord
from crewgate.core.health import HealthState
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import AuthorityError
from crewgate.ipc.admin_messages import AgentStatus, RevocationReceipt, TreeRow

_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # RFC 1123 §2.1
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII | re.IGNORECASE)
_HOST_CHARS_MAX = 253  # RFC 1035 §2.3.4, without lengths and root
_STATUS: dict[HealthState, Literal["ok", "degraded", "waiting"]] = {
    HealthState.OK: "ok", HealthState.DEGRADED: "degraded", HealthState.FAILED: "waiting"
}  # fmt: skip
HERE = "this machine"  # in the list of those that are missing


def revoked(
    target: RevocationTarget,
    receipt: RevocationReceipt | None,
    entries: Sequence[CertificateRecord] = (),
    unwritten: str = "",
) -> RevocationResponse:
    """What the revocation of a target did; `receipt` is None if the agent is away.

    `entries` are certificates that were revoked with it. Whether anybody has seen an orchestrator
    that has certificates, the CA's register knows better than the agent: nothing is said of it.
    """
    told = receipt or RevocationReceipt()
    is_asked = target.rules.of_configured_crew
    return msgspec.convert(
        {
            "target": target.rules.label,
            "id": target.name,
            "crew": target.crew,
            "applied_on": 0 if receipt is None else told.reach.applied_on,
            "of": told.reach.of,
            "ms": max(told.reach.ms, told.cut_ms),
            "missing": [HERE] if receipt is None else told.reach.missing,
            "enough": receipt is not None and told.reach.enough,
            "cut_ms": told.cut_ms,
            "calls_cut": told.calls_cut,
            "connections_closed": told.connections_closed,
            "processes": told.attachments,
            "unresponsive": told.unresponsive,
            "unlisted": told.unlisted,
            "certificates": [entry.serial for entry in entries],
            "unwritten": unwritten,
            "coarsened": told.coarsened,
            "never_seen": told.never_seen if is_asked else "",
            "never_seen_on": told.never_seen_on if is_asked else 0,
        },
        RevocationResponse,
    )


def branch(row: TreeRow) -> BranchResponse:
    """A row of the agent's tree."""
    return BranchResponse(
        crew=row.crew,
        branch=row.branch,
        state=row.state,
        parent=row.parent,
        orchestrator=row.orchestrator,
        role=row.role,
        process=row.process,
        grant=row.grant,
        quota_micro=row.quota,
        spent_micro=row.spent,
        reserved_micro=row.reserved,
        burned_micro=row.burned,
        left_micro=row.left,
        leased_micro=row.leased,
        leased_on=row.leased_on,
    )


def health(status: AgentStatus) -> HealthResponse:
    """What the agent says of this machine."""
    return HealthResponse(
        status=_STATUS[status.state],
        waiting_for=status.waiting_for,
        troubles=[
            msgspec.convert(each, ComponentProblem)
            for each in msgspec.to_builtins(status.health)
            if each["state"] != "ok"
        ],
    )


def host(text: str) -> x509.GeneralName:
    """A name or address for a certificate; AuthorityError."""
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        pass
    if len(text) > _HOST_CHARS_MAX or not _HOST.fullmatch(text):
        raise AuthorityError(f"{text[:64]!r} is neither a DNS name nor an IP address")
    return x509.DNSName(text)
