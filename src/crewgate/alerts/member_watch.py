"""Tells when another machine of the cluster is away, back, new, or evicted.

It sees the machines as `crewgate cluster members` shows them on this machine. That this machine
itself lacks a majority is a matter of its own health (`health_watch`).
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from crewgate.alerts.alert import Alert, AlertState, Findings, alert_id
from crewgate.alerts.local_machine import LocalMachine
from crewgate.core.alert_kinds import AlertKind, AlertSeverity
from crewgate.core.terminal_text import printable
from crewgate.ipc.cluster_messages import MemberRow

_AWAY = {"dead", "left"}
_LEAVING = {"leaving", "evicted"}


class ReportedMember(msgspec.Struct, frozen=True):
    """The reported state of a machine: `since` in seconds since 1970, `ends` as in `MemberRow`."""

    is_away: bool
    is_leaving: bool
    since: float
    ends: int


class MemberWatch:
    """The other machines by name. `notes` are those of an earlier process."""

    def __init__(self, local: LocalMachine, notes: Mapping[str, str]) -> None:
        self._local = local
        self._known = {
            name: msgspec.json.decode(text, type=ReportedMember) for name, text in notes.items()
        }
        # The first look of all reports nothing new.
        self._is_first = not notes

    def update(self, rows: Iterable[MemberRow], wall: float) -> Findings:
        """Take all machines at `wall` (seconds since 1970)."""
        found, seen = Findings.none(), set[str]()
        for row in rows:
            if row.state == "here" or row.standing == "joining":
                continue
            seen.add(row.name)
            self._take(found, row, wall)
        for name in [each for each in self._known if each not in seen]:
            known = self._known.pop(name)
            found.notes[name] = None
            if not known.is_leaving:
                found.alerts.append(self._evicted(name, known.ends, wall))
        self._is_first = False
        return found

    def _take(self, found: Findings, row: MemberRow, wall: float) -> None:
        known = self._known.get(row.name)
        is_away = row.state in _AWAY
        is_leaving = row.standing in _LEAVING
        since = wall if known is None or known.is_away != is_away else known.since
        if known is None and not self._is_first:
            found.alerts.append(self._joined(row, wall))
        if is_leaving and not (known is not None and known.is_leaving):
            found.alerts.append(self._evicted(row.name, row.ends, wall))
        elif not is_leaving and is_away != (known is not None and known.is_away):
            begin = wall if is_away or known is None else known.since
            found.alerts.append(self._moved(row, wall, begin))
        now = ReportedMember(is_away, is_leaving, since, row.ends)
        if now != known:
            self._known[row.name] = now
            found.notes[row.name] = msgspec.json.encode(now).decode()

    def _joined(self, row: MemberRow, wall: float) -> Alert:
        return self._alert(
            row.name, wall, AlertState.ONCE, ("joined", row.ends),
            text=f"machine {printable(row.name)} has joined the cluster at {row.address}",
            then=f"if you do not know it: `{self._local.command('cluster evict', row.name)}`",
            data={"member": row.name, "address": row.address, "event": "joined"},
            is_shared=True,
        )  # fmt: skip

    def _evicted(self, name: str, ends: int, wall: float) -> Alert:
        return self._alert(
            name, wall, AlertState.OVER, ("evicted", ends),
            text=f"machine {printable(name)} was evicted from the cluster",
            then=f"see which machines are left: `{self._local.command('cluster members')}`",
            data={"member": name, "event": "evicted"},
            is_shared=True,
        )  # fmt: skip

    def _moved(self, row: MemberRow, wall: float, begin: float) -> Alert:
        name, event = printable(row.name), ("back", self._local.name, round(begin))
        if row.state not in _AWAY:
            return self._alert(
                row.name, wall, AlertState.OVER, event,
                text=f"machine {name} answers machine {self._local.name} again after "
                f"{round(wall - begin)} s",
                data={"member": row.name, "event": "back", "seconds": round(wall - begin)},
            )  # fmt: skip
        has_left = row.state == "left"
        text = f"machine {name} has stopped" if has_left else f"machine {name} does not answer"
        text += f", says machine {self._local.name}"
        return self._alert(
            row.name, wall, AlertState.BEGINS, ("away", *event[1:]),
            text=text,
            then="start it, or look at the network between the machines; "
            f"see more: `{self._local.command('cluster members')}`",
            data={"member": row.name, "address": row.address, "event": "away"},
        )  # fmt: skip

    def _alert(
        self,
        name: str,
        wall: float,
        state: AlertState,
        event: tuple[object, ...],
        *,
        text: str,
        data: dict[str, object],
        then: str = "",
        is_shared: bool = False,
    ) -> Alert:
        return Alert(
            id=alert_id(AlertKind.MACHINE, name, *event),
            type=AlertKind.MACHINE.value,
            timestamp=datetime.fromtimestamp(wall, UTC),
            machine=self._local.name,
            subject=f"machine/{name}",
            state=state,
            severity=AlertSeverity.WARNING,
            text=text,
            next=then,
            is_shared=is_shared,
            data=data,
        )
