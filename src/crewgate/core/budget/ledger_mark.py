"""Compares a ledger with a machine's mark, to find a ledger that has forgotten grants.

The ledger counts the operations of each machine in the transaction of the operation
(`LeaseHolder.heartbeat`). The machine keeps this count outside of the ledger too, and takes it only
after the commit. So a mark is never ahead of what the ledger has on its disk: a ledger with a lower
count has forgotten grants, and would grant their credit again. This module reads and writes no
files.
"""

from collections.abc import Mapping

import msgspec

_SHOWN_CHARS = 8  # of a ledger's identity, which has 32 characters


class LedgerMark(msgspec.Struct, frozen=True):
    """What a machine knows of its ledger.

    `ledger` is the identity of the ledger, `holder` the machine's name there, and `count` how many
    operations the ledger has counted for this name. `term` is the time when a person last accepted
    another or an older ledger (wall clock, seconds; 0 for never). It grows with each acceptance.
    """

    ledger: str
    holder: str
    count: int = 0
    term: int = 0

    @property
    def drawn_as(self) -> str:
        """The text that a table stores beside its leases; a table of another term is not reused."""
        return f"{self.ledger} {self.holder}" + (f" {self.term}" if self.term else "")


class HolderOperationCounts(msgspec.Struct, frozen=True):
    """The present state of a ledger: its identity, and the count of operations of each holder."""

    ledger: str
    counts: Mapping[str, int]


def mark_of(drawn_as: str) -> LedgerMark | None:
    """Return the mark of a `LedgerMark.drawn_as`, with a count of 0; None for any other text."""
    ledger, _, rest = drawn_as.partition(" ")
    holder, _, term = rest.partition(" ")
    if not ledger or not holder or not (term or "0").isdecimal():
        return None
    return LedgerMark(ledger, holder, term=int(term or "0"))


def why_not(
    known: LedgerMark | None, found: HolderOperationCounts | None, *, may_forget: bool = False
) -> str:
    """Return why a machine with the mark `known` must not draw from the ledger; "" if it may.

    `found` is None if no ledger is there, or one without tables. With `may_forget`, a ledger that
    is older than the mark is accepted.
    """
    if known is None:
        return ""
    if found is None:
        return (
            "there is no ledger, but this machine has drawn from ledger "
            f"{known.ledger[:_SHOWN_CHARS]}; with a new ledger every budget would start again"
        )
    if found.ledger != known.ledger:
        return (
            f"it is another ledger ({found.ledger[:_SHOWN_CHARS]}) than the one from which this "
            f"machine has drawn ({known.ledger[:_SHOWN_CHARS]}), and does not know what was spent "
            "there"
        )
    missing = known.count - found.counts.get(known.holder, 0)
    if missing <= 0 or may_forget:
        return ""
    return (
        f"it is an older copy: it lacks the last {missing} of {known.count} operations of this "
        "machine, and would grant again the credit that was spent in them"
    )
