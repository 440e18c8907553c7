"""Asks all machines for their newest alerts, through the agent of this one. Blocks."""

from pathlib import Path
from typing import NamedTuple

from crewgate import limits
from crewgate.errors import CrewgateError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.answer_parts import AlertsPart
from crewgate.ipc.cluster_view import SilentMachine, collect
from crewgate.ipc.machine_messages import AlertsQuestion
from crewgate.runtime.durable_files import describe
from crewgate.ui.live.alert_list import AlertDocument, now, read_alerts


class ReportedAlerts(NamedTuple):
    """The alerts by machine, and the machines that did not answer."""

    alerts: dict[str, list[AlertDocument]]
    not_asked: list[SilentMachine]


def ask(folder: Path, machine: str) -> ReportedAlerts:
    """Return the alerts of all machines; `machine` is this one, if its agent does not answer."""
    seconds = limits.members_audit_seconds_max + limits.ipc_seconds_max
    try:
        with AdminClient(folder, seconds) as agent:
            found = collect(agent.ask_machines(AlertsQuestion()), AlertsPart)
    except (CrewgateError, OSError) as error:
        why = describe(error) if isinstance(error, OSError) else str(error)
        return ReportedAlerts({}, [SilentMachine(machine, why)])
    at = now()
    told = {}
    for name, parts in found.parts.items():
        documents = [row for part in parts for row in part.rows][: limits.member_alerts_max]
        told[name] = read_alerts(name, documents, at)
    return ReportedAlerts(told, found.not_asked)
