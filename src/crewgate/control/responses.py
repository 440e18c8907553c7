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
from crewgate.ca.propagation import PropagationResult
from crewgate.core.health import HealthState
from crewgate.errors import AuthorityError
from crewgate.ipc.admin_messages import AgentStatus, TreeRow

_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # RFC 1123 §2.1
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII | re.IGNORECASE)
_HOST_CHARS_MAX = 253  # RFC 1035 §2.3.4, without lengths and root
_STATUS: dict[HealthState, Literal["ok", "degraded", "waiting"]] = {
    HealthState.OK: "ok", HealthState.DEGRADED: "degraded", HealthState.FAILED: "waiting"
}  # fmt: skip
HERE = "this machine"  # in the list of those that are missing


def revoked(
    target: str,
    name: str,
    crew: str,
    done: PropagationResult | None,
    entries: Sequence[CertificateRecord],
    unwritten: str = "",
) -> RevocationResponse:
    """What a revocation of certificates did; `done` is None if the agent is away."""
    told = done or PropagationResult()
    return msgspec.convert(
        {
            "target": target,
            "id": name,
            "crew": crew,
            "applied_on": 0 if done is None else told.reach.applied_on,
            "of": told.reach.of,
            "ms": max(told.reach.ms, told.cut_ms),
            "missing": [HERE] if done is None else told.reach.missing,
            "enough": done is not None and told.reach.enough,
            "cut_ms": told.cut_ms,
            "calls_cut": told.calls_cut,
            "connections_closed": told.connections_closed,
            "processes": told.attachments,
            "silent": told.silent,
            "unlisted": told.unlisted,
            "certificates": [entry.serial for entry in entries],
            "unwritten": unwritten,
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
