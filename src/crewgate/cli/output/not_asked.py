"""The output about machines that gave no answer: lines, JSON, and the exit status."""

from collections.abc import Iterable, Sequence
from typing import Any

import click
import msgspec

from crewgate.core.terminal_text import printable
from crewgate.ipc.cluster_view import SilentMachine

_INCOMPLETE = 1  # the exit status if some machine gave no answer


def lines(machines: Iterable[SilentMachine]) -> list[str]:
    """Return a line for each machine: its name, and why it is missing."""
    return [printable(f"machine {each.machine} did not answer: {each.why}") for each in machines]


def document(machines: Iterable[SilentMachine]) -> list[dict[str, Any]]:
    """Return the machines that gave no answer, for JSON."""
    return [msgspec.to_builtins(each) for each in machines]


def exit_if_any(machines: Sequence[SilentMachine]) -> None:
    """Exit with status 1 if a machine gave no answer."""
    if machines:
        click.get_current_context().exit(_INCOMPLETE)
