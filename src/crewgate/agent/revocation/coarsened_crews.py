"""The crews that have used up their share of the table, so one revocation revokes all their tokens.

This ends all agents of the crew, so the log says it once an hour for each crew. `status` shows the
crew until its last such revocation has expired, also after a restart of the agent.
"""

import logging

from crewgate import limits
from crewgate.ipc.admin_messages import OverQuotaCrewStatus

_log = logging.getLogger(__name__)


class CoarsenedCrews:
    """The crews by name; `wall` is whole seconds since 1970."""

    def __init__(self) -> None:
        self._rows: dict[str, OverQuotaCrewStatus] = {}
        self._logged: dict[str, int] = {}

    def note(self, crew: str, wall: int) -> None:
        """Add a revocation that has revoked all tokens of a crew on this machine."""
        before = self._rows.get(crew)
        count = before.count if before is not None else 0
        self._rows[crew] = OverQuotaCrewStatus(crew, wall, count + 1)
        interval = limits.coarsened_log_seconds
        if wall - self._logged.get(crew, -interval) < interval:
            return
        self._logged[crew] = wall
        _log.warning(
            "crew %s has used up its share of this machine's table of revocations: this "
            "revocation, and each further one, revokes here all tokens issued to the crew until "
            "then; raise live_revocations of the crew, or [table] revocations",
            crew,
        )

    def restore(self, crew: str, at: int) -> None:
        """Add a revocation of the journal, of the time `at`; the earlier agent has logged it."""
        self._rows[crew] = OverQuotaCrewStatus(crew, at, 1)
        self._logged[crew] = at

    def rows(self) -> list[OverQuotaCrewStatus]:
        """Return the crews, the newest revocation first."""
        return sorted(self._rows.values(), key=lambda row: (-row.at, row.crew))

    def tidy(self, wall: int) -> None:
        """Drop the crews whose last such revocation has expired."""
        for crew, row in list(self._rows.items()):
            if row.at + limits.revocation_seconds < wall:
                del self._rows[crew]
                self._logged.pop(crew, None)
