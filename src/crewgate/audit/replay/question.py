"""What is asked about a recorded run, in the form that machines send each other."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.audit.query_results import Moment
from crewgate.core.ids import uuid_bytes

_Text = Annotated[str, Meta(max_length=limits.claim_chars_max)]
# The names of users, keys and the like by the kind of a revocation, such as "subject".
RunNames = dict[str, list[str]]
# From when to when the run could call: its first record and the end of its last token, in
# microseconds since 1970.
RunLife = tuple[int, int]
_LEAST = {"branch", "grant"}  # kinds of names that are left out first


class ReplayFilter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Asks for the lines of a run, or of a branch and all below it.

    An empty `crew` stands for every crew. A line is in the range if `since` <= its moment < `until`
    (see `RunRecord.moment_us`). The answer has the oldest `limit` lines. `names` and `life`: the
    machine also looks for what hit these names within this time, beside what it finds itself.
    `is_signed`: it signs its answer, and `made_by`, the version of Crewgate that writes the file.
    """

    run: _Text
    crew: _Text = ""
    since: Moment | None = None
    until: Moment | None = None
    limit: Annotated[int, Meta(ge=0, le=limits.replay_lines_max)] = limits.replay_lines_max
    names: RunNames = {}
    life: RunLife | None = None
    is_signed: bool = False
    made_by: _Text = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a malformed id, or too many names."""
        try:
            uuid_bytes(self.run)
        except ValueError as error:
            raise ValueError(f"not the id of a run: {error}") from error
        if count(self.names) > limits.replay_names_max:
            raise ValueError(f"more than {limits.replay_names_max} names")

    def is_in_range(self, moment_us: int) -> bool:
        """Return whether a moment, in microseconds since 1970, is in the range."""
        since = self.since is None or moment_us >= _microseconds(self.since)
        return since and (self.until is None or moment_us < _microseconds(self.until))


def count(names: RunNames) -> int:
    """Return the number of names of all kinds."""
    return sum(map(len, names.values()))


def union(names: list[RunNames]) -> RunNames:
    """Return the names of all, sorted; of those that do not fit, branches and grants go first."""
    kinds = sorted(
        {kind for each in names for kind in each}, key=lambda kind: (kind in _LEAST, kind)
    )
    found: RunNames = {}
    left = limits.replay_names_max
    for kind in kinds:
        kept = sorted({name for each in names for name in each.get(kind, ())})[:left]
        left -= len(kept)
        if kept:
            found[kind] = kept
    return found


def united(lives: Iterable[RunLife | None]) -> RunLife | None:
    """Return the time from the first beginning to the last end; None if there is none."""
    known = [each for each in lives if each is not None]
    if not known:
        return None
    return min(begin for begin, _ in known), max(end for _, end in known)


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)
