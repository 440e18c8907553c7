"""The health of all machines as watchers see it."""

from math import isfinite
from typing import Any, Self

import msgspec

from crewgate.alerts.health_watch import kind_of
from crewgate.api.health_response import health_response
from crewgate.ipc.admin_messages import AgentStatus
from crewgate.ipc.cluster_view import ClusterStatus
from crewgate.ui.live.watcher import View

_encode = msgspec.json.Encoder(order="sorted").encode


class MachineList(msgspec.Struct, frozen=True):
    """The document for who sees all crews, and the one for others.

    Components can be named after crews, and reasons name crews, files and receivers. Others see the
    kind of a component instead, and its state.
    """

    whole: bytes
    restricted: bytes

    @classmethod
    def of(cls, found: ClusterStatus) -> Self:
        """Make the documents of what the machines have answered."""
        machines = [_machine(name, status) for name, status in found.machines.items()]
        not_asked = msgspec.to_builtins(found.not_asked)
        document = {"machines": machines, "asked": found.asked, "not_asked": not_asked}
        restricted = document | {
            "machines": [_restricted(each) for each in machines],
            "not_asked": [{**each, "why": ""} for each in not_asked],
        }
        return cls(_encode(document), _encode(restricted))

    def document(self, view: View) -> bytes:
        """Return the document for a person, in JSON."""
        return self.whole if view.is_whole else self.restricted


def _machine(name: str, status: AgentStatus) -> dict[str, Any]:
    """Return the health of a machine, which is another document only if something has changed."""
    found: dict[str, Any] = {"machine": name, **msgspec.to_builtins(health_response(status))}
    for each in found["troubles"]:
        # An agent takes the moment from two clocks, so its digits differ each time.
        each["since"] = round(each["since"]) if isfinite(each["since"]) else 0
    return found


def _restricted(machine: dict[str, Any]) -> dict[str, Any]:
    return machine | {
        "waiting_for": [kind_of(each.partition(":")[0]).value for each in machine["waiting_for"]],
        "troubles": [
            {**each, "component": kind_of(each["component"]).value, "why": "", "mend": ""}
            for each in machine["troubles"]
        ],
    }
