"""Chooses the machine that tells what several machines of a cluster note.

If it is known where the event has happened, that machine tells it, since it knows most of it. Slack
shows each message, so one machine tells it all else that has the same id on all machines: the same
one by the view of each machine, as long as they see the same machines. The others keep the alert
for a while, and send it if that machine is away by then (`sender`).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from crewgate.alerts.alert import Alert
from crewgate.config import AlertConfig
from crewgate.ipc.cluster_messages import MemberRow

_REACHED = {"alive", "suspect"}


class Tellers:
    """The machines that this one reaches. Without a cluster, this machine tells everything."""

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

    def others(
        self, receivers: Sequence[AlertConfig], alerts: Sequence[Alert]
    ) -> Mapping[tuple[str, str], str]:
        """Return the other machine that tells an alert, by the receiver's name and the alert's id.

        Alerts that this machine tells are left out.
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
        """Return the machine that tells an event; empty if it is this one."""
        rank = {
            name: hashlib.sha256(f"{identifier} {name}".encode()).digest()
            for name in (self._own, *self._others)
        }
        chosen = max(rank, key=lambda name: rank[name])
        return "" if chosen == self._own else chosen
