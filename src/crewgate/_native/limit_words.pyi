"""Gives words of the table to the limits on calls, and says which limit has which.

`LimitScopes.needed` of `crewgate.core.policy.call_limits` says which words a policy needs.
"""

from collections.abc import Iterable

from crewgate._native.table import Table
from crewgate._native.table_owner import OwnedTable

def words_by_key(table: Table) -> dict[int, int]:
    """Return which limits have words, by their keys: the number of a cell, or that of a word among
    those of each branch."""

def give_words(
    table: OwnedTable, cells: Iterable[int], words: Iterable[int], now_boot_ns: int
) -> None:
    """Give each key a cell of the table, or a word of each branch, before a policy is in force.

    A key that has one keeps it, with its count. The others get words that no key has, or else those
    of keys that are not in the policy. Then no gate decides until `set_policy_generation`. Buckets
    that are damaged, so that they would refuse calls for weeks, become full.

    Raises:
        TableFullError: There are more keys than words. Nothing has changed, or only cells.
    """
