"""Assigns to one machine each alert that several machines of a cluster note.

If it is known where the event has happened, that machine sends the alert, since it knows most of
it. Slack shows each message, so one machine sends it all else that has the same id on all machines.
Each machine computes which one that is (rendezvous hashing), with the same result as long as all
see the same machines. The others keep the alert for a while, and send it if that machine is away
by then (`sender`).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from crewgate.alerts.alert import Alert
from crewgate.config import AlertConfig
from crewgate.ipc.cluster_messages import MemberRow

_REACHED = {"alive", "suspect"}


class MachineAssignment:
    """Knows which machines this one reaches. Without a cluster, this machine sends everything."""

    def __init__(self) -> None:
        self._own = ""
        self._others: frozenset[str] = frozenset()

    def update(self, rows: Iterable[MemberRow]) -> None:
        """Take the machines of the cluster."""
        found = [*rows]
        self._own = next((row.name for row in found if row.state == "here"), "")
        counted = (row for row in found if row.standing == "counts" and row.state in _REACHED)
        self._others = frozenset(row.name for row in counted)

    def reaches(self, name: str) -> bool:
        """Return whether this machine reaches another one."""
        return name in self._others

    def assigned_elsewhere(
        self, receivers: Sequence[AlertConfig], alerts: Sequence[Alert]
    ) -> Mapping[tuple[str, str], str]:
        """Return the other machine that sends an alert, by the receiver's name and the alert's id.

        Alerts that this machine sends are left out.
        """
        found: dict[tuple[str, str], str] = {}
        for alert in alerts:
            if self.reaches(alert.origin):
                found |= {(each.name, alert.id): alert.origin for each in receivers}
            elif alert.is_shared and (chosen := self._chosen(alert.id)):
                slack = (each for each in receivers if each.format == "slack")
                found |= {(each.name, alert.id): chosen for each in slack}
        return found

    def _chosen(self, identifier: str) -> str:
        """Return the machine that sends a shared alert; empty if it is this one."""
        rank = {
            name: hashlib.sha256(f"{identifier} {name}".encode()).digest()
            for name in (self._own, *self._others)
        }
        chosen = max(rank, key=lambda name: rank[name])
        return "" if chosen == self._own else chosen
