"""Which crews have used up their share of the table of revocations: all their tokens die with one.

Log and audit say it once an hour for each crew, because it ends all agents of that crew. `status`
shows it until the last such revocation has expired, also after a restart of the agent.
"""

import logging

from crewgate import limits
from crewgate.ipc.admin_messages import CrewOverRevocationQuota

_log = logging.getLogger(__name__)


class CoarsenedCrews:
    """By the names of crews; `wall` is whole seconds since 1970."""

    def __init__(self) -> None:
        self._rows: dict[str, CrewOverRevocationQuota] = {}
        self._said: dict[str, int] = {}

    def note(self, crew: str, wall: int) -> None:
        """A revocation of this crew ended all its tokens on this machine."""
        before = self._rows.get(crew)
        count = before.count if before is not None else 0
        self._rows[crew] = CrewOverRevocationQuota(crew, wall, count + 1)
        if wall - self._said.get(crew, -limits.coarsened_said_seconds) < (
            limits.coarsened_said_seconds
        ):
            return
        self._said[crew] = wall
        _log.warning(
            "crew %s has used up its share of this machine's table of revocations: all its tokens "
            "that were issued until now are dead here, and so it goes with each further "
            "revocation; raise live_revocations of the crew, or [table] revocations",
            crew,
        )

    def restore(self, crew: str, at: int) -> None:
        """Show what the journal holds of `at`; the agent that entered it has said it."""
        self._rows[crew] = CrewOverRevocationQuota(crew, at, 1)
        self._said[crew] = at

    def rows(self) -> list[CrewOverRevocationQuota]:
        """The newest first."""
        return sorted(self._rows.values(), key=lambda row: (-row.at, row.crew))

    def tidy(self, wall: int) -> None:
        """Drop crews whose last such revocation has expired."""
        for crew, row in list(self._rows.items()):
            if row.at + limits.revocation_seconds < wall:
                del self._rows[crew]
                self._said.pop(crew, None)
