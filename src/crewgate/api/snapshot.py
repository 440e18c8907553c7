"""The auth graph of one moment, and what each caller sees of it; made once, told to many.

A view is cut out and encoded when it is first asked for and then shared, so that a thousand readers
of a large tree cost one pass over it. Knows no agent and no clock.
"""

from collections.abc import Sequence

import msgspec

from crewgate.api.schemas import BranchesResponse, BranchResponse
from crewgate.core.cross_crew_account import caller

_encode = msgspec.json.Encoder().encode


class Snapshot:
    """Rows with parents before their children, crew by crew; a crew's own row has no branch."""

    def __init__(self, rows: Sequence[BranchResponse] = ()) -> None:
        self._rows = list(rows)
        self._branches: dict[str, list[BranchResponse]] = {}
        for row in self._rows:
            if row.branch:
                self._branches.setdefault(row.branch, []).append(row)
        self._views: dict[str, list[BranchResponse]] = {"": self._rows}
        self._encoded: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"<Snapshot of {len(self._rows)} rows>"

    def of(self, crew: str) -> Sequence[BranchResponse]:
        """The rows of a crew, with the accounts of its calls; of all crews if it is empty."""
        view = self._views.get(crew)
        if view is None:
            view = [row for row in self._rows if crew in {row.crew, caller(row.crew)}]
            if view:  # a crew that is not there is no reason to remember its name
                self._views[crew] = view
        return view

    def find(self, branch: str, crew: str) -> list[BranchResponse]:
        """The branches of that id: in one crew, or in all of them if `crew` is empty.

        Ids are chosen by who signs, so two crews may have the same.
        """
        found = self._branches.get(branch, ())
        return [row for row in found if crew in {"", row.crew, caller(row.crew)}]

    def encoded(self, crew: str) -> bytes:
        """The rows of a crew, or of all, as the JSON of a `BranchesResponse`."""
        data = self._encoded.get(crew)
        if data is None:
            view = self.of(crew)
            data = _encode(BranchesResponse(branches=list(view)))
            if view:
                self._encoded[crew] = data
        return data
