"""Whether a ledger is the one that a machine has drawn from, with all that it told it.

A ledger counts what each machine has told it, in the transaction that does it (`Holder.beat`). The
machine keeps that count outside of the ledger too, and takes it after the commit: a mark is never
ahead of what the ledger has on its disk. So a ledger that has counted less has forgotten grants,
and would grant their credit again. Reads and writes nothing.
"""

from collections.abc import Mapping

import msgspec

_SHOWN = 8  # characters of a ledger's identity, which has 32


class LedgerMark(msgspec.Struct, frozen=True):
    """What a machine knows of its ledger.

    `ledger` is its identity, `holder` the machine's name there, and `count` what the ledger has
    counted of it. `term` is when a person last accepted another or an older ledger (seconds of the
    wall clock, 0 for never), and grows each time.
    """

    ledger: str
    holder: str
    count: int = 0
    term: int = 0

    @property
    def drawn_as(self) -> str:
        """What a table of leases is bound to; leases of another term are another ledger's."""
        return f"{self.ledger} {self.holder}" + (f" {self.term}" if self.term else "")


class LedgerCounts(msgspec.Struct, frozen=True):
    """A ledger as it stands: its identity, and what it has counted of each holder."""

    ledger: str
    counts: Mapping[str, int]


def mark_of(drawn_as: str) -> LedgerMark | None:
    """The mark of `LedgerMark.drawn_as`, without its count; None for no such text."""
    ledger, _, rest = drawn_as.partition(" ")
    holder, _, term = rest.partition(" ")
    if not ledger or not holder or not (term or "0").isdecimal():
        return None
    return LedgerMark(ledger, holder, term=int(term or "0"))


def why_not(
    known: LedgerMark | None, book: LedgerCounts | None, *, may_forget: bool = False
) -> str:
    """What a machine knows that speaks against this ledger, and what it costs; empty for nothing.

    `book` is None where there is none, or one without tables. `may_forget`: it is no reproach that
    it has forgotten something.
    """
    if known is None:
        return ""
    if book is None:
        return (
            f"there is no ledger, and this machine has drawn from one ({known.ledger[:_SHOWN]}): "
            "in a new one every budget begins anew"
        )
    if book.ledger != known.ledger:
        return (
            f"it is another ledger ({book.ledger[:_SHOWN]}) than this machine has drawn from "
            f"({known.ledger[:_SHOWN]}): it does not know what was spent there"
        )
    missing = known.count - book.counts.get(known.holder, 0)
    if missing <= 0 or may_forget:
        return ""
    return (
        f"it is older than this machine knows: it lacks the last {missing} of {known.count} "
        "operations of this machine, and would grant again what was spent in them"
    )
