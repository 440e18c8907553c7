"""Holds the branch tree of one moment, and the part of it that each crew may see.

A crew's part is selected and encoded at its first request and then shared, so a thousand readers of
a large tree cost one pass over it.
"""

from collections.abc import Sequence

import msgspec

from crewgate.api.schemas import BranchesResponse, BranchResponse
from crewgate.core.cross_crew_accounts import caller

_encode = msgspec.json.Encoder().encode
_NOTHING = BranchesResponse(branches=[])


class BranchTreeSnapshot:
    """The rows of the branch tree, crew by crew, parents first; a crew's own row has no branch."""

    def __init__(
        self, rows: Sequence[BranchResponse] = (), found: BranchesResponse = _NOTHING
    ) -> None:
        """`found` says which machines answered; its own branches and cursor do not count."""
        self._rows = list(rows)
        self._found = found
        self._branches: dict[str, list[BranchResponse]] = {}
        for row in self._rows:
            if row.branch:
                self._branches.setdefault(row.branch, []).append(row)
        self._views: dict[str, list[BranchResponse]] = {"": self._rows}
        self._encoded: dict[str, bytes] = {}

    def of(self, crew: str) -> Sequence[BranchResponse]:
        """Return a crew's rows, cross-crew accounts included; all rows if `crew` is empty."""
        view = self._views.get(crew)
        if view is None:
            view = [row for row in self._rows if crew in {row.crew, caller(row.crew)}]
            # The names of unknown crews must not fill the cache.
            if view:
                self._views[crew] = view
        return view

    def find(self, branch: str, crew: str) -> list[BranchResponse]:
        """Return the branches with an id, in one crew, or in all crews if `crew` is empty.

        Two crews may have the same id, since each signer chooses its own ids.
        """
        found = self._branches.get(branch, ())
        return [row for row in found if crew in {"", row.crew, caller(row.crew)}]

    def page(
        self, rows: Sequence[BranchResponse], *, more: bool = False, cursor: str = ""
    ) -> BranchesResponse:
        """Return rows with the machines that answered; `cursor` is the `next` of the page."""
        branches = list(rows)
        return msgspec.structs.replace(
            self._found, branches=branches, more=more, next=cursor, totals=[]
        )

    def encoded(self, crew: str) -> bytes:
        """Return the rows of a crew, or of all crews, as the JSON of a `BranchesResponse`."""
        data = self._encoded.get(crew)
        if data is None:
            view = self.of(crew)
            totals = [each for each in self._found.totals if crew in {"", each.crew}]
            data = _encode(msgspec.structs.replace(self.page(view), totals=totals))
            if view:
                self._encoded[crew] = data
        return data
