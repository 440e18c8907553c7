"""One update of the live feed, and the part of it that each watcher may see."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from crewgate import limits
from crewgate.ipc.cluster_view import SilentMachine
from crewgate.ui.live.live_tree_row import LiveTreeRow, whole
from crewgate.ui.silent_machines import shown

_encode = msgspec.json.Encoder().encode
SeesCrew = Callable[[str], bool]


class CrewChanges(msgspec.Struct):
    """The JSON of the rows of a crew that are new or have changed, and the numbers of gone rows."""

    rows: list[bytes] = []
    gone: list[int] = []


class TreeHead(msgspec.Struct, frozen=True):
    """Who has answered: as `ClusterTree`. `at` is in milliseconds since 1970."""

    at: int
    machines: Sequence[str]
    not_asked: Sequence[SilentMachine]
    left_out: int = 0

    def members(self, *, is_whole: bool) -> bytes:
        """Return the members of an event, without braces.

        Only who sees all crews gets the texts of machines, which may name any crew.
        """
        missing = shown(self.not_asked, is_whole=is_whole)
        return _encode(
            {
                "at": self.at,
                "machines": self.machines,
                "not_asked": missing,
                "left_out": self.left_out,
            }
        )[1:-1]


class TreeUpdate(msgspec.Struct, frozen=True):
    """What a reading has changed, by crew, and `rows`, the whole tree after it.

    Nobody changes `rows`. `is_reset`: so much has changed that a watcher begins anew.
    """

    head: TreeHead
    changes: Mapping[str, CrewChanges]
    rows: Mapping[str, Mapping[int, LiveTreeRow]]
    is_reset: bool = False

    def unchanged(self) -> "TreeUpdate":
        """Return an update that changes nothing, as of the same moment."""
        return TreeUpdate(self.head, {}, self.rows)

    def event(self, sees: SeesCrew, *, is_whole: bool) -> bytes:
        """Return the event of what has changed for who sees these crews."""
        seen = [each for crew, each in self.changes.items() if sees(crew)]
        rows = [row for each in seen for row in each.rows]
        gone = [number for each in seen for number in each.gone]
        return _tree_event(self.head.members(is_whole=is_whole), rows, gone)

    def pieces(self, sees: SeesCrew, *, is_whole: bool) -> Iterator[bytes]:
        """Yield the events of a watcher that begins anew, each made when it is asked for."""
        rows = (row for crew, each in self.rows.items() if sees(crew) for row in each.values())
        head = self.head.members(is_whole=is_whole)
        piece, is_first = [*islice(rows, limits.ui_piece_rows_max)], True
        while piece or is_first:
            following = [*islice(rows, limits.ui_piece_rows_max)]
            encoded = [whole(row) for row in piece]
            yield _tree_event(head, encoded, (), reset=is_first, more=bool(following))
            piece, is_first = following, False


def event(name: str, data: bytes) -> bytes:
    """Return an event of the stream; JSON has no line breaks."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


def _tree_event(
    head: bytes,
    rows: Sequence[bytes],
    gone: Sequence[int],
    *,
    reset: bool = False,
    more: bool = False,
) -> bytes:
    data = b'{"reset":%b,"rows":[%b],"gone":%b,%b,"more":%b}' % (
        _encode(reset), b",".join(rows), _encode(gone), head, _encode(more),
    )  # fmt: skip
    return event("tree", data)
