"""The protocol of a database connection that can hold a ledger; it knows no accounts.

Both engines share their statements, with `?` for a value and `{keys}` for a list of values.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from crewgate import limits

Row = tuple[Any, ...]


class SQLSession(Protocol):
    """One connection, for one thread at a time; every method may raise LedgerUnavailableError."""

    @property
    def dialect(self) -> Mapping[str, str]:
        """The SQL that differs between engines, for `schema` and `sql`."""

    def transaction(self, *, is_durable: bool = True) -> AbstractContextManager[None]:
        """Run a transaction; afterwards all of it is on the disk, or nothing of it happened.

        A power loss may undo a transaction that is not durable, but only with all later ones.
        """

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """Run a statement and return its rows."""

    def write(self, statement: str, rows: Sequence[Row]) -> None:
        """Run a statement once for each row."""

    def expect(self, identity: str, counts: Mapping[str, int]) -> None:
        """Refuse every connection to another ledger from now on, or to an older copy of this one.

        `counts` are the acknowledged operations by holder. The caller goes on updating this
        mapping; a copy that has counted fewer operations of a holder is older.
        """

    def publish(self, notifications: Sequence[str]) -> None:
        """Send notifications to the other machines, if there are any, with the commit."""

    def lock(self, crews: Sequence[bytes]) -> None:
        """Let no other transaction write accounts and leases of these crews until this one ends."""

    def checkpoint(self) -> None:
        """Copy committed transactions into the database's own file, if the engine needs it."""

    def close(self) -> None:
        """Close the connection."""


def among(
    session: SQLSession, statement: str, keys: Sequence[object], *values: object
) -> list[Row]:
    """Run a statement with `IN ({keys})` for any number of keys; the rows have no order.

    `values` are those for the `?` before the keys. Each part has at most `limits.ledger_keys_max`
    keys. It repeats its last key up to a power of two, so that the database prepares few
    statements.
    """
    found: list[Row] = []
    for at in range(0, len(keys), limits.ledger_keys_max):
        some = keys[at : at + limits.ledger_keys_max]
        size = 1 << (len(some) - 1).bit_length()
        marks = ", ".join("?" * size)
        found += session.rows(
            statement.format(keys=marks), [*values, *some, *[some[-1]] * (size - len(some))]
        )
    return found
