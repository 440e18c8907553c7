"""The lines of a run of all machines, merged in the order of their moments."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import msgspec

from crewgate.audit.replay.extract import ExtractLine, MachineExtract, whole
from crewgate.audit.replay.question import ReplayFilter, union, united
from crewgate.audit.replay.run_record import RunRecord, read
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.cluster_view import MachineAnswers, SilentMachine
from crewgate.version import __version__


class RunReplay(msgspec.Struct, frozen=True):
    """What was asked, the extract of each machine that answered, and the machines that did not."""

    question: ReplayFilter
    machines: list[MachineExtract]
    not_asked: Sequence[SilentMachine]


class ReplayedLine(NamedTuple):
    """A line of one machine, and its record.

    `machine` is an index of `RunReplay.machines`, and `place` one of its lines.
    """

    moment_us: int
    machine: int
    place: int
    line: ExtractLine
    record: RunRecord


class HasLines(Protocol):
    """The lines of one machine."""

    @property
    def lines(self) -> list[ExtractLine]:
        """The lines, sorted by moment, file and offset."""
        ...


class AskOthers(Protocol):
    """Asks the other machines, or only one of them by its name; an empty name stands for all."""

    def __call__(self, question: ReplayFilter, machine: str, /) -> MachineAnswers[MachineExtract]:
        """Return the parts of their extracts."""
        ...


def gather(
    question: ReplayFilter,
    own: Callable[[ReplayFilter], MachineExtract] | None,
    ask_others: AskOthers,
) -> RunReplay:
    """Ask this machine, unless it is None, and the others for a run.

    A machine finds what hit the run only by the names in its own lines, and their times. If others
    know more, it is asked again. A machine that sends anything else counts as one that did not
    answer.

    Raises:
        ServiceRefusedError: Several crews have such a run.
    """
    if question.is_signed:
        question = msgspec.structs.replace(question, made_by=__version__)
    found = {} if own is None else {"": own(question)}
    answers = ask_others(question, "")
    found |= {name: whole(parts, name) for name, parts in answers.parts.items()}
    crews = sorted({crew for each in found.values() for crew in each.crews})
    if len(crews) > 1:
        why = f"several crews have a branch {question.run}; name one: --crew {'|'.join(crews)}"
        raise ServiceRefusedError(why)
    question = msgspec.structs.replace(question, crew=question.crew or "".join(crews))
    names = union([each.names for each in found.values()])
    life = united(each.life for each in found.values())
    again = msgspec.structs.replace(question, names=names, life=life)
    not_asked = {each.machine: each for each in answers.not_asked}
    for name, each in [*found.items()]:
        if not _lacks(each, again):
            continue
        if not name and own is not None:
            found[name] = own(again)
            continue
        more = ask_others(again, name)
        found |= {one: whole(parts, one) for one, parts in more.parts.items()}
        not_asked |= {one.machine: one for one in more.not_asked}
    for name, each in found.items():
        if not all(map(partial(_is_of, question), each.lines)):
            why = "its answer has lines that are not of this run"
            not_asked.setdefault(name, SilentMachine(name, why))
    machines = [each for name, each in found.items() if name not in not_asked]
    return RunReplay(question, machines, [not_asked[name] for name in sorted(not_asked)])


def _is_of(question: ReplayFilter, line: ExtractLine) -> bool:
    """Return whether a line may be one of the run: a machine could send those of others."""
    record = read(line.text.encode("utf-8", "replace"))
    if record is None:
        return False
    if record.kind in {"revocation", "watch"}:
        return record.crew in {"", question.crew}
    is_of_run = question.run in record.path or record.caller == question.run
    return is_of_run and record.crew == question.crew


def _lacks(own: MachineExtract, all_of: ReplayFilter) -> bool:
    """Whether others name more than a machine, or have seen the run earlier or later."""
    is_whole = united([own.life, all_of.life]) == own.life
    names = all_of.names.items()
    return not is_whole or any(not {*of} <= {*own.names.get(kind, ())} for kind, of in names)


def merged(machines: Sequence[HasLines]) -> list[ReplayedLine]:
    """Return the lines of all machines that are records, sorted by their moments.

    A machine writes the record of a grant after the first call that had it, so the grant has the
    moment at which that call began. Lines of one moment stay in the order of the machines, of their
    files, and of their offsets.
    """
    found = []
    first_calls: dict[tuple[int, str], int] = {}
    for number, machine in enumerate(machines):
        for place, line in enumerate(machine.lines):
            record = read(line.text.encode("utf-8", "replace"))
            if record is None:
                continue
            found.append(ReplayedLine(record.moment_us, number, place, line, record))
            if record.kind in {"call", "open"}:
                key = number, record.grant
                first_calls[key] = min(record.begin_us, first_calls.get(key, record.begin_us))
    for at, each in enumerate(found):
        if each.record.kind == "grant":
            first = first_calls.get((each.machine, each.record.grant), each.moment_us)
            found[at] = each._replace(moment_us=min(each.moment_us, first))
    found.sort(key=_order)
    return found


def _order(line: ReplayedLine) -> tuple[int, int, bool, str, int]:
    is_later = line.record.kind != "grant"
    return line.moment_us, line.machine, is_later, line.line.file, line.line.offset
