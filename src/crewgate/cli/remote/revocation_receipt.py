"""Revokes through the control API, whose response becomes the receipt of a local command."""

import msgspec

from crewgate.api.schemas import UNSPECIFIED, RevocationRequest, RevocationResponse
from crewgate.cli.remote.client import ControlClient
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.ipc.admin_messages import QuorumResult, RevocationReceipt, Until


def receipt_of(done: RevocationResponse, kind: EntityKind, until: Until = "") -> RevocationReceipt:
    """Return the receipt of a target of this kind; `until` is as in the request."""
    waited_for = until or ("quorum" if done.of > 1 else "local")
    members = msgspec.to_builtins(done)
    return msgspec.convert(
        members
        | {
            "type": "receipt",
            "id": 0,
            "targets": [RevocationTarget(kind, done.id, done.crew)],
            "attachments": done.processes,
            "reach": msgspec.convert(members | {"until": waited_for}, QuorumResult),
        },
        RevocationReceipt,
    )


def revoke_target(
    client: ControlClient, target: RevocationTarget, until: Until = "", reason: str = ""
) -> RevocationReceipt:
    """Revoke a target, and return the receipt."""
    body = {
        target.rules.request_field: target.name,
        "crew": target.crew,
        "until": until,
        "reason": reason or UNSPECIFIED,
    }
    request = msgspec.convert(body, RevocationRequest)
    done = client.post("/v1/revocations", request, RevocationResponse)
    return receipt_of(done, target.kind, until)
