"""Verifies an exported replay with the public keys of its machines, and without the audit.

A machine's statement proves its lines, their order, and that it has left none out. Everything else
in the file is made from the lines, so it is made again and compared.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime
from hashlib import sha256

import msgspec

from crewgate import limits
from crewgate.audit.checkpoints import checkpoint
from crewgate.audit.replay import statement
from crewgate.audit.replay.export_document import ExportDocument, ExportedMachine
from crewgate.audit.replay.export_html import DATA_END, DATA_START, html
from crewgate.audit.replay.extract import ExtractLine
from crewgate.audit.replay.question import united
from crewgate.audit.replay.run_replay import merged
from crewgate.audit.replay.statement import CHANGED, COVER, UNSIGNED, ExtractStatement
from crewgate.audit.replay.timeline import timeline
from crewgate.version import __version__

_NUMBER = re.compile("[0-9]+", re.ASCII)


class VerifiedMachine(msgspec.Struct, frozen=True):
    """One machine of an export. `is_known`: its key is one of those that the person has named.

    `lines` are as the machine has signed them: `covered` of them by checkpoints until `until`,
    `unsigned` by none yet; `changed` were no longer as they had been signed. `left_out` younger
    ones did not fit, and `unreadable` ones have the id of the run, but are no record.
    """

    machine: str
    key: str
    is_known: bool
    made: datetime
    lines: int
    covered: int
    unsigned: int
    changed: int
    left_out: int
    unreadable: int
    until: datetime | None


class ExportReport(msgspec.Struct, frozen=True):
    """What was found in an export. `findings` say what is not as the machines have signed it.

    It is about the lines of which `since` <= moment < `until`; None: there is no such bound.
    `made_by` is the version of Crewgate that wrote the file, as the file says. `compares_page`: it
    is this version, so all that the page shows was compared with the lines.
    """

    crew: str
    run: str
    since: datetime | None
    until: datetime | None
    machines: list[VerifiedMachine]
    not_asked: list[str]
    made_by: str
    compares_page: bool
    findings: list[str]

    @property
    def are_lines_proven(self) -> bool:
        """Whether the lines are as the machines have signed them."""
        return not self.findings

    @property
    def is_proven(self) -> bool:
        """Whether the lines are, and the page shows what they say."""
        return self.are_lines_proven and self.compares_page


def verify_export(data: bytes, keys: Collection[str]) -> ExportReport:
    """Verify the bytes of an export; `keys` are the public keys of its machines.

    Raises ValueError if they are no export.
    """
    found = read(data)
    findings: list[str] = []
    machines = []
    for number, each in enumerate(found.machines):
        name = each.machine or f"machine {number + 1}"
        try:
            signed = statement.read(each.statement)
        except ValueError as error:
            findings.append(f"{name}: its statement cannot be read: {error}")
            continue
        if not signed.is_signed:
            findings.append(f"{name}: the signature of its statement is wrong")
        stated = signed.statement
        if stated.key not in keys:
            findings.append(f"{name}: no key that you named has signed it, but {stated.key}")
        findings += (f"{name}: {why}" for why in _differences(found, each, stated))
        machines.append(_verified(each, stated, is_known=stated.key in keys))
    signers = [each.key for each in machines]
    if len({*signers}) < len(signers):
        findings.append("two machines have the same key, so one of them is there twice")
    findings += _wrong_lines(found)
    findings += (f"no machine with the key {key} is in it" for key in keys if key not in signers)
    is_own = found.made_by == __version__
    if timeline(merged(found.machines), found.run) != found.timeline and is_own:
        findings.append("the steps are not those of the lines")
    elif is_own and html(found) != data:
        findings.append("what the file shows is not made from its lines")
    return ExportReport(
        found.crew,
        found.run,
        found.since,
        found.until,
        machines,
        [each.machine for each in found.not_asked],
        found.made_by,
        is_own,
        findings,
    )


def read(data: bytes) -> ExportDocument:
    """Return the document in the bytes of an export. Raises ValueError if there is none."""
    _, begin, rest = data.partition(DATA_START)
    body, end, _ = rest.partition(DATA_END)
    if not begin or not end:
        raise ValueError("it is no exported replay")
    try:
        return msgspec.json.decode(body, type=ExportDocument)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _wrong_lines(found: ExportDocument) -> Iterator[str]:
    """Yield what is wrong between the lines of all machines and their statements.

    Each machine must have sought what the lines of all machines name. Else a person who makes the
    export could have one machine leave out who ended the run, and why.
    """
    lines = merged(found.machines)
    if len(lines) < sum(len(each.lines) for each in found.machines):
        yield "a line is no record"
    if any(each.record.crew not in {"", found.crew} for each in lines):
        yield "a line is of another crew"
    own = [each.record for each in lines if each.record.kind not in {"revocation", "watch"}]
    named = {(kind, name) for record in own for kind, name in record.named.items()}
    life = united(record.life for record in own)
    for each in found.machines:
        with suppress(ValueError):
            stated = statement.read(each.statement).statement
            sought = {(kind, name) for kind in stated.names for name in stated.names[kind]}
            is_all = len(sought) < limits.replay_names_max
            if (is_all and named - sought) or united([stated.life, life]) != stated.life:
                yield f"{each.machine}: it did not seek what hit all that the lines name"


def _verified(
    machine: ExportedMachine, stated: ExtractStatement, *, is_known: bool
) -> VerifiedMachine:
    covers = [each.cover for each in machine.lines]
    unsigned, changed = covers.count(UNSIGNED), covers.count(CHANGED)
    return VerifiedMachine(
        machine.machine, stated.key, is_known, stated.time, len(covers),
        len(covers) - unsigned - changed, unsigned, changed, stated.left_out,
        stated.unreadable, max((each.time for each in stated.checkpoints), default=None),
    )  # fmt: skip


def _differences(
    found: ExportDocument, machine: ExportedMachine, stated: ExtractStatement
) -> Iterator[str]:
    """Yield what differs between the lines of a machine and its statement."""
    asked = found.run, found.since, found.until, machine.machine
    if asked != (stated.run, stated.since, stated.until, stated.machine):
        yield "its statement is about something else"
    if stated.crew not in {"", found.crew}:
        yield "its statement is about another crew"
    if stated.made_by not in {"", found.made_by}:
        yield (
            f"it has signed that Crewgate {stated.made_by} wrote the file, "
            "and the file names another version"
        )
    covers = [each.cover for each in machine.lines]
    if len(covers) != stated.lines:
        yield f"it has {len(covers)} lines, and its statement is about {stated.lines}"
    if (covers.count(UNSIGNED), covers.count(CHANGED)) != (stated.unsigned, stated.changed):
        yield "its statement has other numbers of lines that are not as signed"
    digests = [
        statement.line_digest(each.file, each.offset, each.cover, each.text.encode())
        for each in machine.lines
    ]
    if statement.lines_digest(digests) != stated.digest:
        yield "a line was changed, removed, inserted or moved"
    numbers = {str(each.number) for each in stated.checkpoints}
    if not all(COVER.fullmatch(each) for each in covers):
        yield "what covers a line is no checkpoint"
    if {each for each in covers if _NUMBER.fullmatch(each)} - numbers:
        yield "its statement does not have the checkpoint of a line"
    yield from _wrong_checkpoints(machine, stated)


def _wrong_checkpoints(machine: ExportedMachine, stated: ExtractStatement) -> Iterator[str]:
    """Yield what is wrong with the checkpoints that are in the file."""
    expected = [each for each in stated.checkpoints if not each.is_left_out]
    if [each.digest for each in expected] != [
        sha256(line.encode()).hexdigest() for line in machine.checkpoints
    ]:
        yield "its checkpoints are not those that its statement names"
        return
    covered: dict[str, list[ExtractLine]] = {}
    for each in machine.lines:
        covered.setdefault(each.cover, []).append(each)
    for named, line in zip(expected, machine.checkpoints, strict=True):
        try:
            signed = checkpoint.read(line.encode())
        except ValueError:
            yield f"checkpoint {named.number} cannot be read"
            continue
        if not signed.is_signed or signed.checkpoint.key != stated.key:
            yield f"the signature of checkpoint {named.number} is wrong"
        if (signed.checkpoint.number, signed.checkpoint.time) != (named.number, named.time):
            yield f"checkpoint {named.number} has another number or time"
        sizes = {mark.name: mark.bytes for mark in signed.checkpoint.files}
        if any(
            sizes.get(each.file, 0) < each.offset + len(each.text.encode()) + 1
            for each in covered.get(str(named.number), ())
        ):
            yield f"checkpoint {named.number} does not cover a line"
