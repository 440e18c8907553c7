"""Whether what a client saw was right, given what was being done to the gateway meanwhile.

A worker's death tears what it carried, the end of a branch ends its calls; nothing else excuses a
call that did not come out as its kind says.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from soak_counting import Books, Told
from soak_errors import Faults
from soak_kinds import Seen
from soak_population import Branch
from soak_roles import Part

KILL_SECONDS = 3.0  # once a killed worker is back, connections to the one before may still break
STALE = "503 revocation-unavailable"  # nothing is judged then, so nobody is known
AGAIN = {"503 budget-unavailable", STALE, "503 audit-unavailable"}
ENDED = {"401 branch-revoked", "cut branch-revoked", "torn"}
ADMITTED = {"200", "left"}
NO_ID = {"torn", "untouched", "spent"}


class Trip(NamedTuple):
    """A call's branch, and its time."""

    branch: Branch
    began: float
    ended: float
    detail: str = ""


@dataclass
class Kill:
    """From the death of a worker until another one serves; a busy machine takes its time."""

    began: float
    ended: float = math.inf


class Judge:
    """Judges each call once, and keeps the counts."""

    def __init__(self, books: Books, faults: Faults) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.plain_seconds: list[float] = []
        self.excused = 0
        self.again = 0
        self.kills: list[Kill] = []
        self._books = books
        self._faults = faults

    def look(self, part: Part, found: Seen, trip: Trip) -> None:
        """Judge one call."""
        self.counts.setdefault(part.name, Counter())[found.outcome] += 1
        if found.outcome not in NO_ID:
            recorded = part.recorded or found.outcome not in part.may
            recorded = recorded and found.outcome != STALE
            if found.request or not recorded:
                told = Told(found.outcome, trip.branch)
                self._books.tell(found.request, told, recorded=recorded)
        if part.name == "call" and found.outcome == "200":
            self.plain_seconds.append(trip.ended - trip.began)
        if found.branch not in {"", trip.branch.agent.branch}:
            self._faults.add("sent on as another's", f"{found} for {trip.branch.agent.branch}")
        if not self._is_right(part, found, trip):
            self._faults.add(
                f"{part.name}: {found.outcome}",
                f"{found.request} {trip.detail} after {trip.ended - trip.began:.2f} s",
            )

    def _is_right(self, part: Part, found: Seen, trip: Trip) -> bool:
        branch, outcome = trip.branch, found.outcome
        if outcome in part.may:
            return not (found.request and outcome in ADMITTED and trip.began > trip.branch.ended_at)
        if outcome in AGAIN:
            self.again += 1
            return True
        if outcome in ENDED and branch.ending_at <= trip.ended:
            return True
        if outcome == "untouched" or (outcome == "torn" and self._was_killed(trip)):
            self.excused += 1
            return True
        return part.name == "spent" and self._was_killed(trip)

    def _was_killed(self, trip: Trip) -> bool:
        return any(
            trip.began <= kill.ended + KILL_SECONDS and kill.began <= trip.ended
            for kill in self.kills[-8:]
        )
