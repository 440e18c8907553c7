"""The merged branch tree, as the control API gives it."""

from typing import Any
from urllib.parse import urlencode

import msgspec

from crewgate.api import schemas
from crewgate.cli.remote.client import ControlClient
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.answer_parts import CallTotalRow
from crewgate.ipc.cluster_tree import ClusterTreeRow
from crewgate.ipc.cluster_view import ClusterTree


def branch_tree(client: ControlClient, path: str, **query: str) -> ClusterTree:
    """Return the tree, or the part of it, that GET `path` gives; parameters may be empty."""
    given = urlencode({name: text for name, text in query.items() if text})
    found = client.get(f"{path}?{given}", schemas.BranchesResponse)
    try:
        rows = [_row(each) for each in found.branches]
    except msgspec.ValidationError as error:
        raise ServiceConnectionError(f"{client.url}: not an answer of this API: {error}") from error
    totals: dict[str, list[CallTotalRow]] = {}
    for each in found.totals:
        row = CallTotalRow(each.crew, each.tool, each.calls, each.refused, each.spent_micro)
        totals.setdefault(each.machine, []).append(row)
    answered = found.machines, found.asked, found.not_asked, found.left_out
    return ClusterTree(rows, *answered, found.minutes, totals)


def _row(answer: schemas.BranchResponse) -> ClusterTreeRow:
    members = msgspec.to_builtins(answer)
    members["machines"] = [_without_unit(each) for each in members["machines"]]
    return msgspec.convert(_without_unit(members), ClusterTreeRow)


def _without_unit(members: dict[str, Any]) -> dict[str, Any]:
    return {name.removesuffix("_micro"): value for name, value in members.items()}
