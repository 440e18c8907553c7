"""Finds the lines of one run in the audit folder of a machine.

They are the records of its branches, and those of revocations and of the minting watch that hit it:
of its crew, orchestrator, subject, process, key, certificate or grants. The agent alone writes the
latter.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from crewgate import limits
from crewgate.audit import folder as audit_folder
from crewgate.audit.replay import line_search
from crewgate.audit.replay.question import ReplayFilter, RunLife, RunNames, union, united
from crewgate.audit.replay.run_record import RunRecord, read
from crewgate.core.audit.records import when
from crewgate.core.revocation_kinds import KINDS

_AGENT = "agent"
_HITTING = (b'"kind":"revocation"', b'"kind":"watch"')
_LEEWAY_US = limits.leeway_seconds * 1_000_000
_RULES = {each.label: each for each in KINDS.values()}


class RunLine(NamedTuple):
    """A line without its newline, where it stands, and its record."""

    moment_us: int
    file: str
    offset: int
    line: bytes
    record: RunRecord


class RunLines:
    """The oldest lines of a run, sorted by moment, file and offset.

    Attributes:
        life: From when to when the run could call, as far as the lines say.
        crews: The crews that have a run with this id.
        left_out: The number of younger lines that were left out, and the moment of the first.
        unreadable: The number of lines that have the id, but are no record.
    """

    def __init__(self, question: ReplayFilter) -> None:
        self.crews: set[str] = set()
        self.left_out = self.unreadable = 0
        self._question = question
        self._limits = min(question.limit, limits.replay_lines_max), limits.replay_lines_bytes_max
        self._found: list[RunLine] = []
        self._bytes = 0
        self._first_left_out_us: int | None = None
        self._names: dict[str, set[str]] = {}
        self.life: RunLife | None = None

    @property
    def names(self) -> RunNames:
        """What the lines name, as far as it fits."""
        return union([{kind: [*names] for kind, names in self._names.items()}])

    @property
    def left_out_from(self) -> datetime | None:
        """The moment of the first line that was left out; None if none was."""
        return None if self._first_left_out_us is None else when(self._first_left_out_us * 1000)

    def read(self, folder: Path) -> list[RunLine]:
        """Read the folder. Raises OSError."""
        paths = [path for path in audit_folder.files(folder) if self._may_have(path)]
        for path in paths:
            self._read_file(path)
        hitting, life = self._hitting(), united([self.life, self._question.life])
        for path in paths:
            if audit_folder.process_of(path) == _AGENT:
                for at, line in line_search.find(path, _HITTING):
                    record = read(line)
                    if record is not None and self._hits(record, hitting, life):
                        self._add(RunLine(record.moment_us, path.name, at, line, record))
        self._cut()
        return self._found

    def _may_have(self, path: Path) -> bool:
        """Whether a file was written since the range began, about."""
        since = self._question.since
        if since is None:
            return True
        try:
            return path.stat().st_mtime >= since.timestamp() - limits.replay_slack_seconds
        except FileNotFoundError:
            return False

    def _read_file(self, path: Path) -> None:
        question = self._question
        for at, line in line_search.find(path, [question.run.encode()]):
            record = read(line)
            if record is None:
                self.unreadable += 1
                continue
            is_of_run = question.run in record.path or record.caller == question.run
            if not is_of_run or (question.crew and record.crew != question.crew):
                continue
            self.crews.add(record.crew)
            if record.kind not in {"revocation", "watch"}:
                for kind, name in record.named.items():
                    self._names.setdefault(kind, set()).add(name)
                self._names.setdefault("branch", set()).update(record.ancestry)
                self.life = united([self.life, record.life])
                self._add(RunLine(record.moment_us, path.name, at, line, record))

    def _hitting(self) -> dict[str, set[str]]:
        """Return the ids, by kind, that a revocation of the run may have: names, and keys in hex.

        Of another machine's revocation, a machine may know only the key.
        """
        found = {kind: {*names} for kind, names in self._names.items()}
        for kind, more in self._question.names.items():
            found.setdefault(kind, set()).update(more)
        crews = {self._question.crew} if self._question.crew else self.crews
        found["crew"] = {*crews}
        for kind, names in found.items():
            for name in [*names]:
                names.update(key for crew in crews for key in _keys(kind, crew, name))
        return found

    def _hits(self, record: RunRecord, names: dict[str, set[str]], life: RunLife | None) -> bool:
        """Whether it is about the run: what was long before, or is long after it, is not.

        A revocation for good is also one of what is named later.
        """
        crews = {self._question.crew} if self._question.crew else self.crews
        if record.crew not in {"", *crews}:
            return False
        if record.kind == "revocation" and self._question.run in record.path:
            return True
        begin, end = life or (0, 0)
        rules = _RULES.get("branch" if record.target == "account" else record.target)
        if record.moment_us > end + _LEEWAY_US:
            return False
        if record.moment_us < begin - _LEEWAY_US and not (rules and rules.is_for_good):
            return False
        if record.kind == "watch":
            return record.orchestrator in names.get("orchestrator", ())
        return rules is not None and record.id in names.get(rules.label, ())

    def _add(self, line: RunLine) -> None:
        if not self._question.is_in_range(line.moment_us):
            return
        self._found.append(line)
        self._bytes += len(line.line)
        count, size = self._limits
        if len(self._found) > 2 * count + 1000 or self._bytes > 2 * size:
            self._cut()

    def _cut(self) -> None:
        """Sort the lines, and keep the oldest that fit."""
        self._found.sort(key=lambda each: each[:3])
        kept, size = 0, 0
        for kept, line in enumerate(self._found):
            size += len(line.line)
            if kept >= self._limits[0] or size > self._limits[1]:
                break
        else:
            kept = len(self._found)
        first = [each.moment_us for each in self._found[kept : kept + 1]]
        known = [] if self._first_left_out_us is None else [self._first_left_out_us]
        self._first_left_out_us = min([*first, *known], default=None)
        self.left_out += len(self._found) - kept
        del self._found[kept:]
        self._bytes = sum(len(each.line) for each in self._found)


def _keys(kind: str, crew: str, name: str) -> Iterator[str]:
    rules = _RULES.get(kind)
    if rules is None:
        return
    try:
        yield from (key.hex() for key in rules.keys(crew, name))
    except ValueError:  # a name of another form, which no revocation has
        return
