"""The alerts of all machines as watchers see them: what has happened, and what holds now."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.alerts.alert import Alert
from crewgate.ipc.cluster_view import SilentMachine
from crewgate.ui.live.watcher import View

_encode = msgspec.json.Encoder().encode
_Text = Annotated[str, Meta(max_length=2 * limits.alert_text_chars_max)]
_Name = Annotated[str, Meta(max_length=4 * limits.claim_chars_max)]


class AlertDocument(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as a document of version 1 has it; members that this version does not know are lost.

    `machine` is the one that reports it.
    """

    id: _Name
    type: _Name
    timestamp: Annotated[datetime, Meta(tz=True)]
    machine: _Name
    subject: _Name
    state: Literal["once", "begins", "over"]
    severity: Literal["info", "warning", "critical"]
    text: _Text
    next: _Text = ""
    crew: _Name = ""
    data: dict[str, Any] = {}


_read = msgspec.json.Decoder(AlertDocument).decode


def read_alerts(machine: str, documents: Iterable[bytes], now: datetime) -> list[AlertDocument]:
    """Return the alerts that can be read; each is of the machine that has sent it.

    An alert of the future gets the time `now`, because else it would stay above all others.
    """
    found = []
    for document in documents:
        if len(document) > limits.member_alert_bytes_max:
            continue
        try:
            alert = _read(document)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        at = min(alert.timestamp, now)
        found.append(msgspec.structs.replace(alert, machine=machine, timestamp=at))
    return found


def as_document(alert: Alert) -> AlertDocument:
    """Return an alert that this process has made."""
    return _read(alert.document())


class AlertList(msgspec.Struct, frozen=True):
    """The newest alerts first, and the machines that did not say theirs."""

    alerts: Sequence[AlertDocument] = ()
    not_asked: Sequence[SilentMachine] = ()

    @classmethod
    def of(
        cls,
        told: Mapping[str, Sequence[AlertDocument]],
        not_asked: Sequence[SilentMachine],
        active: Iterable[Alert],
    ) -> Self:
        """Join the alerts that machines have told with those of what holds now.

        An alert with one id is one: of several machines, the first one tells it.
        """
        found: dict[str, AlertDocument] = {}
        for alerts in told.values():
            for alert in alerts:
                found.setdefault(alert.id, alert)
        for made in active:
            found.setdefault(made.id, as_document(made))
        newest = sorted(found.values(), key=lambda each: each.timestamp, reverse=True)
        return cls(newest[: limits.ui_alerts_kept_max], not_asked)

    def document(self, view: View) -> bytes:
        """Return the document for a person, in JSON.

        Only a person who sees all crews gets alerts that belong to no crew.
        """
        alerts = [
            each for each in self.alerts if view.is_whole or (each.crew and view.sees(each.crew))
        ]
        not_asked = [
            each if view.is_whole else SilentMachine(each.machine, "") for each in self.not_asked
        ]
        return _encode({"alerts": alerts[: limits.ui_alerts_max], "not_asked": not_asked})


def now() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)
