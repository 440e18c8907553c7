"""What a database must offer for a ledger to be kept in it; both kinds do, and know no accounts.

Statements are written once, with `?` for a value and `{keys}` for a list of them.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Row = tuple[Any, ...]


class Session(Protocol):
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
        """The same for rows `IN ({keys})`; `values` belong to what stands before that."""

    def write(self, statement: str, rows: Sequence[Row]) -> None:
        """Do it once for each row."""

    def publish(self, news: Sequence[str]) -> None:
        """Tell it to the other machines, if there are any, when the transaction is done."""

    def lock(self, crews: Sequence[bytes]) -> None:
        """Until the transaction ends, nobody else writes what belongs to these crews."""

    def close(self) -> None:
        """Let go of the database."""


def marks(keys: Sequence[object]) -> list[object]:
    """The keys, doubled at the end up to a power of two: few statements to prepare."""
    size = 1 << max(0, len(keys) - 1).bit_length()
    return [*keys, *[keys[-1]] * (size - len(keys))]
