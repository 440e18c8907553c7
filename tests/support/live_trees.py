"""Answers of machines about branches, for `crewgate top`."""

from collections.abc import Mapping, Sequence

import msgspec

from crewgate.cli.top.reading import Node, Reading, Readings
from crewgate.ipc.admin_messages import TreeRow
from crewgate.ipc.answer_parts import CallTotalRow
from crewgate.ipc.cluster_tree import MachineTree, merged
from crewgate.ipc.cluster_view import ClusterTree, SilentMachine

CREW = "article"
RUN, LEAD, LOOP, OTHER = (f"{n}{n}{n}{n}{n}{n}{n}{n}-0000-4000-8000-000000000000" for n in "1234")
FAMILY = (
    TreeRow(CREW, "", "live", spent=30_000_000),
    TreeRow(CREW, RUN, "live", quota=100_000_000, spent=30_000_000, left=70_000_000, calls=0),
    TreeRow(
        CREW, LEAD, "live", parent=RUN, role="editor", orchestrator="article/article-1",
        quota=50_000_000, spent=25_000_000, left=25_000_000, calls=0,
    ),
    TreeRow(
        CREW, LOOP, "live", parent=LEAD, role="researcher", orchestrator="article/article-1",
        quota=50_000_000, spent=20_000_000, left=30_000_000, calls=0,
    ),
    TreeRow(
        CREW, OTHER, "live", parent=LEAD, role="checker", orchestrator="article/article-1",
        quota=50_000_000, spent=5_000_000, left=30_000_000, calls=0,
    ),
)  # fmt: skip


def changed(
    rows: Sequence[TreeRow] = FAMILY, **branches: Mapping[str, object]
) -> tuple[TreeRow, ...]:
    """Rows, some with other fields: by role, or `run` or `crew`."""
    named = {"crew": "", "run": RUN}
    by_name = {named.get(name, name): fields for name, fields in branches.items()}
    return tuple(
        msgspec.structs.replace(row, **by_name.get(row.role or row.branch, {}))
        if row.role or row.branch or "" in by_name
        else row
        for row in rows
    )


def answer(
    rows: Sequence[TreeRow] = FAMILY,
    minute: int = 7,
    totals: Sequence[CallTotalRow] = (),
    machine: str = "gw-1",
    not_asked: Sequence[SilentMachine] = (),
) -> ClusterTree:
    """What one machine answers."""
    tree = MachineTree(machine, f"of {machine}", rows)
    return ClusterTree(
        merged([tree]), [machine], machine, [*not_asked], 0, {machine: minute}, {machine: totals}
    )


def reading(rows: Sequence[TreeRow] = FAMILY) -> Reading:
    """A first reading, without rates."""
    return Readings().take(answer(rows), 0.0)


def node(branch: str = "") -> Node:
    """The name of a branch of the crew."""
    return Node(CREW, branch)
