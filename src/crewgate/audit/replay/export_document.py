"""What an exported replay holds: the lines of each machine with their proof, and the steps."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from crewgate import limits
from crewgate.audit.replay.extract import ExtractLine
from crewgate.audit.replay.run_replay import RunReplay, merged
from crewgate.audit.replay.timeline import Timeline, timeline
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.cluster_view import SilentMachine
from crewgate.version import __version__


class ExportedMachine(msgspec.Struct, frozen=True):
    """The lines of one machine, what it has stated about them, and its checkpoints."""

    machine: str
    statement: str
    checkpoints: list[str]
    lines: list[ExtractLine]


class ExportDocument(msgspec.Struct, frozen=True):
    """All that is in an export. `made_by` is the version of Crewgate that wrote its page.

    `run`, `crew`, `since` and `until` are what was asked. `timeline` is made from the lines.
    """

    made_by: str
    crew: str
    run: str
    since: datetime | None
    until: datetime | None
    machines: list[ExportedMachine]
    not_asked: Sequence[SilentMachine]
    timeline: Timeline


def document(replay: RunReplay) -> ExportDocument:
    """Return the document of a replay whose machines have signed their lines.

    Raises:
        ServiceRefusedError: The lines are too many for a file that `verify-export` reads.
    """
    question = replay.question
    size, most = sum(each.bytes for each in replay.machines), limits.replay_export_lines_bytes_max
    if size > most:
        raise ServiceRefusedError(
            f"the lines of all machines have {size >> 20} MiB, and a file can have "
            f"{most >> 20} MiB of them; name a shorter time with since and until"
        )
    return ExportDocument(
        __version__,
        question.crew,
        question.run,
        question.since,
        question.until,
        [
            ExportedMachine(each.machine, each.statement, each.checkpoints, each.lines)
            for each in replay.machines
        ],
        replay.not_asked,
        timeline(merged(replay.machines), question.run),
    )
