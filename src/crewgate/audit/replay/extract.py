"""The lines of one run in the audit of one machine, with what the machine states about them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.audit.checkpoints.checkpoint import SignedCheckpoint
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.audit.replay import statement
from crewgate.audit.replay.coverage import Coverage, cover
from crewgate.audit.replay.question import ReplayFilter, RunLife, RunNames, union, united
from crewgate.audit.replay.run_lines import RunLine, RunLines
from crewgate.audit.replay.statement import CHANGED, UNSIGNED, CoveringCheckpoint, ExtractStatement
from crewgate.core.audit.records import when


class ExtractLine(msgspec.Struct, frozen=True, array_like=True):
    """A line of the audit without its newline, the file that has it, and its offset there.

    `cover` is the number of the checkpoint that covers it, or `UNSIGNED` or `CHANGED`; empty if the
    machine did not compare it with its checkpoints.
    """

    file: str
    offset: int
    cover: str
    text: str


class MachineExtract(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The lines of one machine, sorted by moment, file and offset; a machine sends it in parts.

    `statement` is the line that it has signed, and `checkpoints` are the lines of the checkpoints
    that the statement names; both are empty if nobody asked for that. A checkpoint that is too
    long is missing. `names` is what the lines name, by the kind of a revocation, and `life` from
    when to when the run could call. `crews` has the crews that have a run with this id. `left_out`
    younger lines did not fit, from `left_out_from` on.
    """

    machine: str = ""
    lines: list[ExtractLine] = []
    statement: str = ""
    checkpoints: list[str] = []
    names: RunNames = {}
    life: RunLife | None = None
    crews: list[str] = []
    left_out: int = 0
    left_out_from: datetime | None = None
    unreadable: int = 0

    @property
    def bytes(self) -> int:
        """The bytes of its lines, which are ASCII."""
        return sum(len(each.text) for each in self.lines)


def extract(
    folder: Path,
    question: ReplayFilter,
    key: CheckpointKey | None = None,
    machine: str = "",
    *,
    now: datetime | None = None,
) -> MachineExtract:
    """Read the audit in a folder, and sign what was found with `key` if there is one.

    Raises OSError.
    """
    found = RunLines(question)
    lines = found.read(folder)
    result = MachineExtract(
        machine=machine,
        lines=[ExtractLine(each.file, each.offset, "", each.line.decode()) for each in lines],
        names=found.names,
        life=found.life,
        crews=sorted(found.crews),
        left_out=found.left_out,
        left_out_from=found.left_out_from,
        unreadable=found.unreadable,
    )
    if key is None:
        return result
    coverage = _coverage(folder, key, lines)
    covers = [coverage.covers[each.file][each.offset] for each in lines]
    digests = [
        statement.line_digest(each.file, each.offset, covered, each.line)
        for each, covered in zip(lines, covers, strict=True)
    ]
    stated = ExtractStatement(
        time=now or datetime.now(UTC),
        machine=machine,
        key=key.public,
        crew=question.crew,
        run=question.run,
        since=question.since,
        until=question.until,
        made_by=question.made_by,
        names=union([question.names, found.names]),
        life=united([question.life, found.life]),
        lines=len(lines),
        digest=statement.lines_digest(digests),
        checkpoints=[
            CoveringCheckpoint(
                number, each.checkpoint.time, each.digest, is_left_out=_is_long(each)
            )
            for number, each in coverage.checkpoints.items()
        ],
        newest=coverage.newest,
        unsigned=covers.count(UNSIGNED),
        changed=covers.count(CHANGED),
        left_out=found.left_out,
        left_out_from=found.left_out_from,
        unreadable=found.unreadable,
    )
    signed = [each.line.decode() for each in coverage.checkpoints.values() if not _is_long(each)]
    return msgspec.structs.replace(
        result,
        lines=[
            msgspec.structs.replace(line, cover=covered)
            for line, covered in zip(result.lines, covers, strict=True)
        ],
        statement=statement.sign(stated, key),
        checkpoints=signed,
    )


def _is_long(each: SignedCheckpoint) -> bool:
    return len(each.line) > limits.replay_checkpoint_bytes_max


def _coverage(folder: Path, key: CheckpointKey, lines: Sequence[RunLine]) -> Coverage:
    wanted: dict[str, dict[int, bytes]] = {}
    for each in lines:
        wanted.setdefault(each.file, {})[each.offset] = each.line
    begins = [each.record.begin_us for each in lines]
    slack = timedelta(seconds=limits.replay_slack_seconds)
    since = when(min(begins) * 1000) - slack if begins else None
    return cover(folder, key.public, wanted, since)


def pages(found: MachineExtract) -> Iterator[MachineExtract]:
    """Yield an extract in parts that fit messages; the first has all that is no line."""
    yield msgspec.structs.replace(found, lines=[], checkpoints=[], statement="")
    size = limits.replay_page_bytes_max
    for at in range(0, len(found.statement), size):
        yield MachineExtract(statement=found.statement[at : at + size])
    for each in found.checkpoints:
        yield MachineExtract(checkpoints=[each])
    some: list[ExtractLine] = []
    left = size
    for line in found.lines:
        if some and _size(line) > left:
            yield MachineExtract(lines=some)
            some, left = [], size
        some.append(line)
        left -= _size(line)
    if some:
        yield MachineExtract(lines=some)


def _size(line: ExtractLine) -> int:
    return len(line.text) + len(line.file) + len(line.cover)


def whole(parts: Sequence[MachineExtract], machine: str) -> MachineExtract:
    """Return the extract of a machine, by its name, from its parts."""
    return msgspec.structs.replace(
        parts[0],
        machine=machine,
        lines=[line for part in parts for line in part.lines],
        statement="".join(part.statement for part in parts),
        checkpoints=[each for part in parts for each in part.checkpoints],
    )
