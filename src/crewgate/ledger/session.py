"""What a database must offer for a ledger to be kept in it; both kinds do, and know no accounts.

Statements are written once, with `?` for a value and `{keys}` for a list of them.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from crewgate import limits

Row = tuple[Any, ...]


class SQLSession(Protocol):
    """One connection, for one thread at a time; LedgerUnavailableError from each of these."""

    @property
    def dialect(self) -> Mapping[str, str]:
        """Words of `schema` that differ."""

    def transaction(self, *, is_durable: bool = True) -> AbstractContextManager[None]:
        """All of it, on the disk, or nothing.

        One that need not be durable may be lost with the power, as long as no later one was kept.
        """

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """What a statement finds or returns."""

    def among(self, statement: str, keys: Sequence[object], *values: object) -> list[Row]:
        """The same for rows `IN ({keys})`, in no order; `values` stand before these."""

    def write(self, statement: str, rows: Sequence[Row]) -> None:
        """Do it once for each row."""

    def expect(self, identity: str, counts: Mapping[str, int]) -> None:
        """From now on a connection to any other ledger is as good as none.

        So is one to a ledger that has counted less of a holder than `counts` says, which grows.
        """

    def publish(self, notification: Sequence[str]) -> None:
        """Tell it to the other machines, if there are any, when the transaction is done."""

    def lock(self, crews: Sequence[bytes]) -> None:
        """Until the transaction ends, nobody else writes what belongs to these crews."""

    def checkpoint(self) -> None:
        """Have what was committed in the database's own file, where that is a matter of ours."""

    def close(self) -> None:
        """Let go of the database."""


def in_parts(
    ask: Callable[[str, Sequence[object]], list[Row]],
    statement: str,
    keys: Sequence[object],
    values: Sequence[object],
) -> list[Row]:
    """What is `among` any number of keys: a database takes so many values at once.

    The last keys of a part are doubled up to a power of two: few statements to prepare.
    """
    found: list[Row] = []
    for at in range(0, len(keys), limits.ledger_keys_max):
        some = keys[at : at + limits.ledger_keys_max]
        size = 1 << (len(some) - 1).bit_length()
        marks = ", ".join("?" * size)
        found += ask(
            statement.format(keys=marks), [*values, *some, *[some[-1]] * (size - len(some))]
        )
    return found
