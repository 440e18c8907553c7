"""One alert, and the JSON document that a receiver gets.

The document has a version. A later version of Crewgate may add members to version 1, and changes or
removes none.
"""

import enum
import hashlib
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from crewgate import limits
from crewgate.core.alert_kinds import AlertKind, AlertSeverity

VERSION: Final = 1
TEST: Final = "test"
_ID_DIGITS = 32
_encode = msgspec.json.Encoder(order="deterministic").encode


class AlertState(enum.Enum):
    """Whether what the alert says lasts.

    `BEGINS`: it lasts until an alert `OVER` about the same subject. `ONCE`: it has happened.
    """

    ONCE = "once"
    BEGINS = "begins"
    OVER = "over"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a person must get.

    - `id`: the same at each attempt, and on each machine that reports the same event
    - `type`: an `AlertKind`, or "test"
    - `timestamp`: when it happened, as far as known
    - `machine`: the machine that sends it
    - `subject`: what it is about; alerts about one subject arrive in their order
    - `text`, `next`: what has happened, and what to do, as plain sentences
    - `crew`: the crew that it is about, if it is about one
    - `data`: the facts, by kind
    - `is_shared`: each machine of a cluster notes it, with the same id
    - `origin`: the other machine where it has happened, and which knows more of it
    - `link`: where the live page shows it; empty without a page
    - `percent`: of an alert about a budget, the threshold, and `percent_before` the one that was
      told before; otherwise 0
    """

    id: str
    type: str
    timestamp: datetime
    machine: str
    subject: str
    state: AlertState
    severity: AlertSeverity
    text: str
    next: str = ""
    crew: str = ""
    data: dict[str, Any] = {}
    is_shared: bool = False
    origin: str = ""
    link: str = ""
    percent: int = 0
    percent_before: int = 0

    def document(self) -> bytes:
        """Return the document of the alert, in JSON."""
        members = {"version": VERSION, **msgspec.to_builtins(self)}
        for name in ("is_shared", "origin", "percent", "percent_before"):
            del members[name]
        if not self.link:
            del members["link"]
        return _encode(members)


class Findings(NamedTuple):
    """Alerts, and what a watch wants to know again after a restart.

    `notes` has a text for each key; None forgets the key.
    """

    alerts: list[Alert]
    notes: dict[str, str | None]

    @classmethod
    def none(cls) -> "Findings":
        """Return empty ones, which may be added to."""
        return cls([], {})

    def __bool__(self) -> bool:
        return bool(self.alerts or self.notes)


def alert_id(kind: AlertKind | str, *event: object) -> str:
    """Return the id of an event: the same for the same words, on each machine."""
    name = kind if isinstance(kind, str) else kind.value
    words = "\0".join([name, *map(str, event)])
    return f"alert_{hashlib.sha256(words.encode()).hexdigest()[:_ID_DIGITS]}"


def threshold_id(kind: AlertKind, crew: str, branch: str, percent: int, budget: int) -> str:
    """Return the id of a threshold of a branch with a budget of so many micro-credits."""
    return alert_id(kind, crew, branch, percent, budget)


def linked(alert: Alert, page: str) -> Alert:
    """Return an alert that leads to the live page at a URL, if the URL is not empty.

    An alert about a branch leads to the branch, and another one to the list of alerts.
    """
    if not page:
        return alert
    kind, _, name = alert.subject.partition("/")
    is_branch = kind == "branch" and bool(alert.crew and name)
    place = f"branch/{quote(alert.crew, '')}/{quote(name, '')}" if is_branch else "alerts"
    return msgspec.structs.replace(alert, link=f"{page}/#/{place}?alert={alert.id}")


def cut(text: str) -> str:
    """Return a text that fits an alert."""
    chars_max = limits.alert_text_chars_max
    return text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"
