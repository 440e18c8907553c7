"""The rows of the tree as the page gets them, and the JSON of rows that are new or have changed."""

from typing import Final

import msgspec
from msgspec.structs import astuple

from crewgate.ipc.cluster_tree import ClusterTreeRow

_encode = msgspec.json.Encoder().encode


class LiveTreeRow(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A branch or a crew, as `ClusterTreeRow` and its machines; amounts are micro-credits.

    `n` names the row until the page begins anew. `spent_rate` is for each minute. `level` is that
    of its orchestrator in the minting watch: `throttle` or `quarantine`; empty if it is free.
    """

    n: int
    crew: str
    branch: str
    parent: str = ""
    state: str = ""
    orchestrator: str = ""
    role: str = ""
    subject: str = ""
    process: str = ""
    grant: str = ""
    quota: int = 0
    quotas: int = 1
    spent: int = 0
    reserved: int = 0
    burned: int = 0
    left: int = -1
    left_hour: int = -1
    left_day: int = -1
    leased: int = 0
    overrun: int = 0
    calls: int = -1
    spent_rate: int = 0
    rule: str = ""
    rule_step: str = ""
    rule_mode: str = ""
    level: str = ""
    machines: tuple[str, ...] = ()


_FIELDS: Final = LiveTreeRow.__struct_fields__


def live_tree_row(number: int, row: ClusterTreeRow, spent_rate: int, level: str) -> LiveTreeRow:
    """Return the row of a branch."""
    return LiveTreeRow(
        number,
        row.crew,
        row.branch,
        row.parent if row.branch else "",
        row.state,
        row.orchestrator,
        row.role,
        row.subject,
        row.process,
        row.grant,
        row.quota,
        row.quotas,
        row.spent,
        row.reserved,
        row.burned,
        row.left,
        row.left_hour,
        row.left_day,
        row.leased,
        row.overrun,
        row.calls,
        spent_rate,
        row.rule,
        row.rule_step.value if row.rule_step is not None else "",
        row.rule_mode.value if row.rule_mode is not None else "",
        level,
        tuple([share.machine for share in row.machines]),
    )


def whole(row: LiveTreeRow) -> bytes:
    """Return a row with its number, its name, and all members that are not the default."""
    return _encode(row)


def difference(row: LiveTreeRow, before: LiveTreeRow) -> bytes:
    """Return the number of a row and the members that have changed; empty if none has."""
    pairs = zip(_FIELDS, astuple(row), astuple(before), strict=True)
    changed = {name: new for name, new, old in pairs if new != old}
    return _encode({"n": row.n, **changed}) if changed else b""
