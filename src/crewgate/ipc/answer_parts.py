"""The parts of the answers of one machine to the questions of `machine_messages`.

A machine of a later version may add members.
"""

import msgspec

from crewgate.ipc.admin_messages import AgentStatus, TreeRow
from crewgate.ipc.attach_messages import Count
from crewgate.ipc.revocation_messages import RevocationRow


class CallTotalRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """The sums of the calls of a crew to a tool since `crewgate serve` began there.

    `calls` have ended, `refused` of them because the gateway refused. `spent` are micro-credits.
    """

    crew: str
    tool: str
    calls: Count = 0
    refused: Count = 0
    spent: Count = 0


class TreePart(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of the tree of a machine, parents before children.

    Machines with the same `ledger` share their budgets if the ledger can be shared
    (`shares_ledger`). `left_out` branches did not fit. `minute` is the minute of the machine's
    clock (CLOCK_BOOTTIME) that the `calls` of rows are about. The last parts have `totals`, if the
    question asks for them.

    With a `cursor`, a later question may ask for what has changed. The answer to such a question
    goes on from the answer with the cursor `since`: its `rows` are new or other ones, in place of
    those of before, and `gone` are the names (crew and branch) of rows that are gone.
    """

    ledger: str
    rows: list[TreeRow]
    shares_ledger: bool = False
    left_out: Count = 0
    minute: Count = 0
    totals: list[CallTotalRow] = []
    cursor: str = ""
    since: str = ""
    gone: list[tuple[str, str]] = []


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


class CheckpointRow(msgspec.Struct, frozen=True):
    """A checkpoint that a machine keeps of another one: number, digest, and when it heard of it."""

    number: int
    digest: str
    heard: float


class CheckpointsPart(msgspec.Struct, frozen=True):
    """Checkpoints that are kept, the oldest first."""

    rows: list[CheckpointRow]


class AlertsPart(msgspec.Struct, frozen=True):
    """Alerts, the newest first: the JSON documents that receivers get (`alerts.alert.Alert`)."""

    rows: list[bytes]


class InForcePart(msgspec.Struct, frozen=True):
    """Says for each key of the question, in its order, whether the table has it."""

    in_force: list[bool]
