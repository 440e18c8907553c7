"""Finds revocations whose push from the agent was lost, by the table's revocation generation.

The poller runs the watch at the start of each turn: one load of a shared word. While there is
anything that a revocation could end, a turn begins at least every `limits.revocation_look_seconds`.
"""

from collections.abc import Callable

from crewgate._datapath.turn_work import TurnCheck
from crewgate._native.table import Table

class RevocationWatch(TurnCheck):
    """Calls `scan` if the generation has changed since the last scan, or the table is retired.

    Two scans are at least `limits.revocation_look_seconds` apart, so that a storm of revocations
    leaves time for calls. If no socket was ready for so long and `is_needed` returns False, the
    watch rests until `start`.
    """

    def __init__(self, is_needed: Callable[[], bool], scan: Callable[[], None]) -> None: ...
    def use(self, table: Table) -> None:
        """Watch this table from now on, instead of the previous one."""
    def start(self) -> None:
        """Watch: there is something again that a revocation could end."""
