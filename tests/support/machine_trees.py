"""The messages of an agent about the trees of several machines."""

from collections.abc import Iterator, Mapping, Sequence

from crewgate.ipc.admin_messages import TreeRow
from crewgate.ipc.answer_parts import TreePart
from crewgate.ipc.machine_messages import MachineAnswer, encode

_PAGE = 2  # rows


def tree_answers(
    trees: Mapping[str, Sequence[TreeRow]], *, shares: bool = False, asked: str = "gw-1"
) -> Iterator[MachineAnswer]:
    """The messages about the trees of machines."""
    for machine, rows in trees.items():
        pages = [rows[first : first + _PAGE] for first in range(0, len(rows), _PAGE)] or [()]
        for page in pages:
            part = TreePart("ledger", [*page], shares)
            yield MachineAnswer(1, "page", machine, encode(part))
        yield MachineAnswer(1, "whole", machine)
    yield MachineAnswer(1, "end", asked)


def tree_changes(
    rows: Sequence[TreeRow], gone: Sequence[tuple[str, str]], since: str, cursor: str
) -> Iterator[MachineAnswer]:
    """The messages about what has changed at gw-1; rows and names have pages of their own."""
    for some, names in ((rows, ()), ((), gone)):
        part = TreePart("ledger", [*some], cursor=cursor, since=since, gone=[*names])
        yield MachineAnswer(1, "page", "gw-1", encode(part))
    yield MachineAnswer(1, "whole", "gw-1")
    yield MachineAnswer(1, "end", "gw-1")
