"""Alerts, their receivers and records of the audit, as the tests of alerts need them."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crewgate.alerts.alert import Alert, AlertState, Findings, alert_id
from crewgate.alerts.local_machine import LocalMachine
from crewgate.alerts.outbox import AlertOutbox
from crewgate.audit.audit_entry import AuditEntry, parse
from crewgate.config import AlertConfig, ReceiverURL
from crewgate.core.alert_kinds import AlertKind, AlertSeverity

LOCAL = LocalMachine("gw-1", Path("/etc/gw/crewgate.toml"), Path("/var/gw"))
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
TIME = datetime(2026, 11, 30, 12, tzinfo=UTC)
NOW = TIME.timestamp()
BRANCH = "01890a5d-ac96-774b-bcce-b302099a8057"


def alert(
    number: int = 0,
    subject: str = "branch/b",
    severity: AlertSeverity = AlertSeverity.WARNING,
    **changes: Any,
) -> Alert:
    """An alert of its own id for each number."""
    fields: dict[str, Any] = {
        "id": alert_id(AlertKind.RULE, number),
        "type": AlertKind.RULE.value,
        "timestamp": TIME,
        "machine": "gw-1",
        "subject": subject,
        "state": AlertState.ONCE,
        "severity": severity,
        "text": f"number {number}",
        "next": "run `crewgate tree -c F`",
        "crew": "article",
        "data": {"number": number},
    }
    return Alert(**(fields | changes))


def receiver(
    name: str = "oncall",
    place: ReceiverURL | None = None,
    secret: Path = Path("alert.secret"),
    **changes: Any,
) -> AlertConfig:
    """A webhook that gets everything."""
    url = place or ReceiverURL("http", "127.0.0.1", 9, "/in")
    fields: dict[str, Any] = {"url": url, "severity": AlertSeverity.INFO}
    return AlertConfig(name, changes.pop("format", "webhook"), secret, **(fields | changes))


def add(outbox: AlertOutbox, *alerts: Alert, now: float = NOW, name: str = "oncall") -> int:
    """Put alerts into an outbox, for one receiver."""
    return outbox.add("test", Findings([*alerts], {}), {name: alerts}, now)


def entry(offset: int = 0, **members: object) -> AuditEntry:
    """A record of the audit, at an offset of its file."""
    record = {"time": "2026-11-30T12:00:00.000000Z", "machine": "gw-1"} | members
    found = parse(json.dumps(record).encode(), "agent-1.jsonl", offset)
    assert found is not None
    return found
