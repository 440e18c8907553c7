"""The output about the health of several machines: some lines for each, and JSON."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import click
import msgspec

from crewgate.cli.output import health, not_asked
from crewgate.core.terminal_text import printable
from crewgate.ipc.cluster_view import ClusterStatus, SilentMachine

# What a document has of the health of a machine, beside its name.
_MEMBERS = ("ready", "state", "waiting_for", "health")


class MachineDocuments(NamedTuple):
    """The health of machines as --json prints it, and the machines that gave no answer."""

    machines: list[dict[str, Any]]
    not_asked: Sequence[SilentMachine]

    @property
    def for_json(self) -> dict[str, Any]:
        """The members of a JSON document."""
        return {"machines": self.machines, "not_asked": not_asked.document(self.not_asked)}

    @property
    def exit_status(self) -> int:
        """0 if all are ok; 1 if one is not, or gave no answer; 2 if one is not ready."""
        statuses = [health.EXIT_STATUS[each["state"]] for each in self.machines]
        return max([*statuses, int(bool(self.not_asked))])


def documents(found: ClusterStatus, without: str = "") -> MachineDocuments:
    """Return the documents of the machines, but for the one called `without`."""
    machines = []
    for name, each in found.machines.items():
        if name != without:
            members = msgspec.to_builtins(each)
            machines.append({"machine": name} | {member: members[member] for member in _MEMBERS})
    return MachineDocuments(machines, found.not_asked)


def lines(found: MachineDocuments) -> Iterator[str]:
    """Yield a line for each machine, and what is wrong with it."""
    for each in found.machines:
        troubles = [fact for fact in each["health"] if fact["state"] != "ok"]
        headline = health.headline(each["state"], troubles)
        yield printable(f"machine {each['machine']}: {headline}")
        for line in health.lines(troubles, time.time()):
            yield printable(f"  {line}")
    yield from not_asked.lines(found.not_asked)


def show(found: MachineDocuments, *, as_json: bool) -> None:
    """Print the health of machines, and exit with the status of the worst."""
    click.echo(json.dumps(found.for_json) if as_json else "\n".join(lines(found)))
    click.get_current_context().exit(found.exit_status)
