"""How many places of the table of revocations each crew may take, and what is left for whom.

Counts once what the table holds of whom, and goes on by what it is told: one look at a thousand
crews for a step of a thousand entries, and not for each of them. Enters nothing.
"""

from collections.abc import Mapping
from typing import Literal

from crewgate._native.table_owner import OwnedTable
from crewgate.core.cross_crew_ids import caller
from crewgate.core.policy.policy import CrewPolicy

EntryKind = Literal["branch", "certificate", "overrun"]


class RevocationQuota:
    """As of one step; `crews` by their keys. What is of none of them is a crew by its key."""

    def __init__(self, table: OwnedTable, crews: Mapping[bytes, CrewPolicy]) -> None:
        self._table = table
        self._crews = crews
        self._capacity = table.geometry.revocations
        self._used = 0
        self._held: dict[str, int] = {}  # by the crew that calls
        for key, crew in crews.items():
            held, name = table.revocations_of(key), caller(crew.name)
            self._used += held
            self._held[name] = self._held.get(name, 0) + held

    @property
    def is_coarse(self) -> bool:
        """No crew has room for another branch, grant or process: all its tokens would end."""
        return self._used + len(self._crews) + self._capacity // 8 >= self._capacity

    def took(self, key: bytes) -> None:
        """A crew has another place."""
        crew = self._crews.get(key)
        if crew is not None:
            self._used += 1
            self._held[caller(crew.name)] += 1

    def has_space(self, key: bytes, what: EntryKind) -> bool:
        """Within the crew's share, and leaving a place for every crew's coarse entry.

        The last eighth of the share, and of the table, is for certificates: embedders know of their
        end by the table alone, and whoever may end branches could fill his share with made-up ones.
        """
        crew = self._crews.get(key)
        most = self._capacity if crew is None else crew.live_revocations_max
        # Half at most: one crew must not take the places of all others. What its
        # runs have on others' tools is its own too, or each crossing would be another half.
        share, kept = min(most, self._capacity // 2), 0
        if what == "branch":
            share, kept = share - share // 8, self._capacity // 8
        elif what == "overrun":  # whatever tools state, a person finds room
            share, kept = share // 2, self._capacity // 2
        own = self._held[caller(crew.name)] if crew else self._table.revocations_of(key)
        return own < share and self._used + len(self._crews) + kept < self._capacity
