"""Limits how many places in the table of revocations each crew may take.

It counts the table's entries once, and then the entries that the caller reports. So a step with a
thousand entries visits the thousand crews once, and not for each entry.
"""

from collections.abc import Mapping
from typing import Literal

from crewgate._native.table_owner import OwnedTable
from crewgate.core.cross_crew_accounts import caller
from crewgate.core.policy.policy import CrewPolicy

EntryKind = Literal["branch", "certificate", "overrun"]


class CrewTableQuota:
    """The quota for one step. `crews` are by key; a key without a crew is a crew of its own."""

    def __init__(self, table: OwnedTable, crews: Mapping[bytes, CrewPolicy]) -> None:
        self._table = table
        self._crews = crews
        self._capacity = table.geometry.revocations
        self._used = 0
        # The places of each calling crew.
        self._held: dict[str, int] = {}
        for key, crew in crews.items():
            held, name = table.revocations_of(key), caller(crew.name)
            self._used += held
            self._held[name] = self._held.get(name, 0) + held

    @property
    def is_coarse(self) -> bool:
        """Whether the next revocation of any crew's branch or token revokes all its tokens."""
        return self._used + len(self._crews) + self._capacity // 8 >= self._capacity

    def took(self, key: bytes) -> None:
        """Count another place that a crew has taken."""
        crew = self._crews.get(key)
        if crew is not None:
            self._used += 1
            self._held[caller(crew.name)] += 1

    def has_space(self, key: bytes, what: EntryKind) -> bool:
        """Return whether the crew's share has a place, besides one for the entry of each crew.

        The last eighth of the share, and of the table, is for certificates. Embedders know only by
        the table that a certificate is revoked, and a caller who may revoke branches could fill its
        share with invented ones.
        """
        crew = self._crews.get(key)
        live_max = self._capacity if crew is None else crew.live_revocations_max
        # One crew may take at most half of the table. Entries of its cross-crew calls count, too,
        # or each crossing would give it another half.
        share, kept = min(live_max, self._capacity // 2), 0
        if what == "branch":
            share, kept = share - share // 8, self._capacity // 8
        elif what == "overrun":
            # Whatever costs tools state, a person still finds room.
            share, kept = share // 2, self._capacity // 2
        own = self._held[caller(crew.name)] if crew else self._table.revocations_of(key)
        return own < share and self._used + len(self._crews) + kept < self._capacity
