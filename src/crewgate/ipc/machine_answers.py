"""The parts of the answers of one machine to the questions of `machine_messages`.

A machine of a later version may add members.
"""

import msgspec

from crewgate.ipc.admin_messages import AgentStatus, TreeRow
from crewgate.ipc.attach_messages import Count
from crewgate.ipc.revocation_messages import RevocationRow


class TreePart(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of the tree of a machine, parents before children.

    Machines with the same `ledger` share their budgets if the ledger can be shared
    (`shares_ledger`). `left_out` branches did not fit.
    """

    ledger: str
    rows: list[TreeRow]
    shares_ledger: bool = False
    left_out: Count = 0


class StatusPart(msgspec.Struct, frozen=True):
    """The health of a machine."""

    status: AgentStatus


class RevocationsPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of the revocations that a machine knows, the oldest first; `total` counts all."""

    rows: list[RevocationRow]
    total: Count = 0


class RunsPart(msgspec.Struct, frozen=True):
    """The keys of the live runs of a subject, at most `limits.subject_runs_max` of them."""

    runs: list[bytes]


class InForcePart(msgspec.Struct, frozen=True):
    """Says for each key of the question, in its order, whether the table has it."""

    in_force: list[bool]
