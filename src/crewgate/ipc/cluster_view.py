"""What all machines answer together: decoded, merged, and with the machines that did not answer.

A machine whose answer is not whole, or cannot be read, counts as one that did not answer: nothing
of it is shown. Its name is that of its certificate, whatever its answer says.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from crewgate import limits
from crewgate.core.actors import ActorKind
from crewgate.ipc.admin_messages import AgentStatus
from crewgate.ipc.answer_parts import (
    CallTotalRow,
    InForcePart,
    RevocationsPart,
    StatusPart,
    TreePart,
)
from crewgate.ipc.cluster_tree import ClusterTreeRow, MachineTree, merged
from crewgate.ipc.machine_messages import MachineAnswer
from crewgate.ipc.revocation_messages import RevocationRow

P = TypeVar("P")
_NO_MINUTES: Mapping[str, int] = {}
_NO_TOTALS: Mapping[str, Sequence[CallTotalRow]] = {}


class SilentMachine(msgspec.Struct, frozen=True):
    """A machine that was asked and gave no whole answer, and why."""

    machine: str
    why: str


class MachineAnswers(NamedTuple, Generic[P]):
    """The parts of the whole answers by machine, the asked machine first; and who gave none."""

    parts: Mapping[str, Sequence[P]]
    asked: str
    not_asked: list[SilentMachine]


class ClusterTree(NamedTuple):
    """The merged tree, the `machines` that answered, and those that did not.

    `asked` is the machine that was asked itself. `left_out` branches did not fit into answers.
    `minutes` has the minute of each machine's clock, and `totals` what calls have come to there.
    """

    rows: list[ClusterTreeRow]
    machines: list[str]
    asked: str
    not_asked: list[SilentMachine]
    left_out: int = 0
    minutes: Mapping[str, int] = _NO_MINUTES
    totals: Mapping[str, Sequence[CallTotalRow]] = _NO_TOTALS


class ClusterStatus(NamedTuple):
    """The status of each machine that answered, and the machines that did not."""

    machines: dict[str, AgentStatus]
    asked: str
    not_asked: list[SilentMachine]


class ClusterRevocationRow(RevocationRow, frozen=True, omit_defaults=True):
    """A revocation, and how many machines have it in force: `on`, of those that answered.

    `missing` are those that answered and do not have it.
    """

    on: int = 1
    missing: list[str] = msgspec.field(default_factory=list)


class ClusterRevocations(NamedTuple):
    """The newest revocations of all machines, the oldest first, and how many there are about.

    Machines may know different ones, so `total` is the largest number that one of them knows.
    """

    rows: list[ClusterRevocationRow]
    total: int
    machines: list[str]
    asked: str
    not_asked: list[SilentMachine]


def collect(
    answers: Iterable[MachineAnswer], kind: type[P], pages_max: int = sys.maxsize
) -> MachineAnswers[P]:
    """Decode the parts of all machines; each part must be of this kind.

    A machine with more parts than `pages_max`, or for whose answer there is no room, counts as one
    that did not answer.
    """
    decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(kind).decode
    parts: dict[str, list[P]] = {}
    failures: dict[str, str] = {}
    sizes: Counter[str] = Counter()
    asked = ""
    for each in answers:
        if each.what == "end":
            asked = each.machine
        elif each.what == "failed":
            failures[each.machine] = each.why
        elif each.what == "page" and each.machine not in failures:
            sizes[each.machine] += len(each.body)
            try:
                parts.setdefault(each.machine, []).append(decode(each.body))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                failures[each.machine] = f"its answer cannot be read: {error}"
            if len(parts[each.machine]) > pages_max:
                failures[each.machine] = f"its answer has more than {pages_max} pages"
            failed = each.machine
            if sizes.total() > limits.members_answers_bytes_max:
                # The largest: no machine that answers hugely takes the room of the others.
                failed = max(sizes, key=lambda name: sizes[name])
                failures[failed] = "there is no room for its answer beside those of others"
            if failed in failures:
                del parts[failed], sizes[failed]
    names = sorted(parts.keys() - failures.keys(), key=lambda name: (name != asked, name))
    not_asked = [SilentMachine(name, failures[name]) for name in sorted(failures)]
    return MachineAnswers({name: parts[name] for name in names}, asked, not_asked)


def tree_of(answers: Iterable[MachineAnswer]) -> ClusterTree:
    """Return the merged tree of the answers to a `TreeQuestion`."""
    found = collect(answers, TreePart)
    trees = [
        MachineTree(
            name,
            ledger_of(name, parts[0]),
            [row for part in parts for row in part.rows],
            parts[0].shares_ledger,
        )
        for name, parts in found.parts.items()
    ]
    left_out = sum(part.left_out for parts in found.parts.values() for part in parts)
    totals = {
        name: [row for part in parts for row in part.totals] for name, parts in found.parts.items()
    }
    minutes = {name: parts[0].minute for name, parts in found.parts.items()}
    merged_rows, machines = merged(trees), [*found.parts]
    return ClusterTree(
        merged_rows, machines, found.asked, found.not_asked, left_out, minutes, totals
    )


def ledger_of(machine: str, part: TreePart) -> str:
    """Return the identity of a machine's ledger, as far as its answer may say it.

    A machine that lies about its ledger must not stand for another's.
    """
    return part.ledger if part.shares_ledger else f"of {machine}"


def status_of(answers: Iterable[MachineAnswer]) -> ClusterStatus:
    """Return the health of the machines that answered a `StatusQuestion`."""
    found = collect(answers, StatusPart)
    machines = {name: parts[0].status for name, parts in found.parts.items()}
    return ClusterStatus(machines, found.asked, found.not_asked)


def revocations_of(
    answers: Iterable[MachineAnswer],
    limit: int,
    ask_in_force: Callable[[list[bytes]], Iterable[MachineAnswer]],
) -> ClusterRevocations:
    """Return the newest `limit` revocations of the answers to a `RevocationsQuestion`.

    Then ask which machines have them in force.
    """
    found = collect(answers, RevocationsPart)
    known: dict[str, RevocationRow] = {}
    for machine, parts in found.parts.items():
        for row in (_as_far_as_known(row, machine) for part in parts for row in part.rows):
            other = known.get(row.key)
            known[row.key] = row if other is None else _better(row, other)
    rows = sorted(known.values(), key=lambda row: (row.at, row.key))[-limit or len(known) :]
    in_force: dict[str, set[str]] = {}
    if rows:
        keys = [bytes.fromhex(row.key) for row in rows]
        for machine, answer in collect(ask_in_force(keys), InForcePart).parts.items():
            pairs = zip(rows, answer[0].in_force, strict=False)
            in_force[machine] = {row.key for row, has_it in pairs if has_it}
    total = max((part.total for parts in found.parts.values() for part in parts), default=0)
    return ClusterRevocations(
        [_with_machines(row, in_force) for row in rows],
        max(total, len(known)),
        [*found.parts],
        found.asked,
        found.not_asked,
    )


def _as_far_as_known(row: RevocationRow, machine: str) -> RevocationRow:
    """Return a row as far as `machine` may say it: only the origin says who ordered it, and why."""
    if row.origin == machine:
        return row
    return msgspec.structs.replace(row, by=ActorKind.GATEWAY.named(row.origin), reason="")


def _better(row: RevocationRow, other: RevocationRow) -> RevocationRow:
    """Return the row of an origin, and of two the first order; with the names that are known."""
    best, rest = sorted(
        (row, other), key=lambda each: (ActorKind.GATEWAY.is_of(each.by), each.at, each.origin)
    )
    return msgspec.structs.replace(
        best,
        name=best.name or rest.name,
        crew=best.crew or rest.crew,
        role=best.role or rest.role,
        expires=max(best.expires, rest.expires),
    )


def _with_machines(row: RevocationRow, in_force: Mapping[str, set[str]]) -> ClusterRevocationRow:
    missing = sorted(name for name, keys in in_force.items() if row.key not in keys)
    return ClusterRevocationRow(
        **msgspec.structs.asdict(row), on=len(in_force) - len(missing), missing=missing
    )
