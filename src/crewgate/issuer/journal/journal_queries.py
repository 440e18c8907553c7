"""Searches all journals of a machine, without their locks: who gave which branch what, and why.

The files may grow meanwhile, or be damaged. The search reports what it could not read, and goes on.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime
from heapq import nlargest
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from crewgate import limits
from crewgate.core.tokens.claims import Claims
from crewgate.issuer.journal.journal_entries import (
    BranchRevoked,
    ExtensionRecord,
    ExtensionRefused,
    GrantWay,
    JournalEntry,
    MintRecord,
)
from crewgate.issuer.journal.journal_reader import JournalReader, UnreadableLine
from crewgate.runtime.durable_files import cause

JournalEvent = Literal["mint", "extend", "refuse", "revoke"]
_AUTOMATIC = {way.value for way in GrantWay if way.is_automatic}


class JournalFilter(msgspec.Struct, frozen=True):
    """Filters, all of which must match; the default matches everything.

    `branch` (UUID text) also matches the branches below it. `orchestrator` is `<crew>/<name>`.
    `grant` is the `jti` of a token. A listing has the newest `limit` rows.
    """

    crew: str | None = None
    branch: str | None = None
    orchestrator: str | None = None
    grant: str | None = None
    since: datetime | None = None
    refused: bool = False
    without_renewals: bool = False
    limit: int = limits.audit_rows_default


class JournalRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a journal; a text that the line does not have is empty.

    Attributes:
        time: When it was written.
        event: "mint" for the first token of a branch, "extend" for a further one, "refuse" for a
            request that got none, "revoke" for the end of a branch.
        orchestrator: The orchestrator of the journal, `<crew>/<name>`.
        branch, parent: UUID texts; a run has no parent.
        role: The role of the branch.
        grant: The `jti` of the token; of a refused request, that of the token before.
        seconds, credits_micro, tools: What the branch got: seconds until its token ends, or by
            which its token ends later. Of a refused request, what it asked for.
        end_moved: By how many seconds the branch itself ends later.
        quota_micro: The credits of the branch in all.
        expires: When its newest token ends; None if the line has no token.
        ends_at: When the branch ends; None is no such time.
        reason: Why somebody asked.
        way: How the request came: "library", "socket", "api", "command", "renewal" or "token-file".
        decided_by: "orchestrator", "callback", "policy", or the user of a command, "uid N".
        answer: What the one who decided said.
    """

    time: datetime
    event: JournalEvent
    orchestrator: str
    branch: str
    role: str = ""
    parent: str = ""
    grant: str = ""
    seconds: int = 0
    credits_micro: int = 0
    tools: list[str] = []
    end_moved: int = 0
    quota_micro: int = 0
    expires: datetime | None = None
    ends_at: datetime | None = None
    reason: str = ""
    way: str = ""
    decided_by: str = ""
    answer: str = ""


class UnreadablePart(msgspec.Struct, frozen=True):
    """A line that could not be read; 0 is the whole file."""

    file: str
    line: int
    reason: str


class JournalReport(msgspec.Struct, frozen=True):
    """What the journals have: the newest rows that match, and the number of all that match."""

    entries: list[JournalRow]
    counts: dict[JournalEvent, int]
    files: int
    unreadable: list[UnreadablePart]
    unreadable_more: int = 0


class _Branch(NamedTuple):
    role: str
    ancestors: tuple[str, ...]


class JournalQuery:
    """One search in the journals of a folder: `*.jsonl`, and those of commands below it."""

    def __init__(self, folder: Path, question: JournalFilter) -> None:
        self._folder, self._question = folder, question
        self._branches: OrderedDict[str, _Branch] = OrderedDict()
        self._counts: Counter[JournalEvent] = Counter()
        self._files = 0
        self._unreadable: list[UnreadablePart] = []
        self._unreadable_more = 0

    def report(self) -> JournalReport:
        """Read all journals once."""
        most = self._question.limit
        # For no row, `nlargest` would not count them either.
        newest = nlargest(max(most, 1), self._rows(), key=lambda row: row.time)[:most]
        return JournalReport(
            entries=newest[::-1],
            counts=dict(self._counts),
            files=self._files,
            unreadable=self._unreadable,
            unreadable_more=self._unreadable_more,
        )

    def _rows(self) -> Iterator[JournalRow]:
        # Commands extend branches of orchestrators. So the journals of orchestrators come first.
        for folder in (self._folder, self._folder / "commands"):
            for path in self._journals(folder):
                self._files += 1
                for entry in JournalReader(path).read():
                    if isinstance(entry, UnreadableLine):
                        self._note(entry.path, entry.line, entry.reason)
                        continue
                    try:
                        row = self._row(entry)
                    except (ValueError, OverflowError, OSError):
                        self._note(path, 0, "a line has a time that no calendar has")
                        continue
                    if row is not None:
                        self._counts[row.event] += 1
                        yield row

    def _journals(self, folder: Path) -> list[Path]:
        try:
            return sorted(path for path in folder.iterdir() if path.suffix == ".jsonl")
        except FileNotFoundError:
            return []
        except OSError as error:
            self._note(folder, 0, f"cannot be read: {cause(error)}")
            return []

    def _note(self, path: Path, line: int, reason: str) -> None:
        if len(self._unreadable) < limits.audit_rows_default:
            self._unreadable.append(UnreadablePart(str(path), line, reason))
        else:
            self._unreadable_more += 1

    def _row(self, entry: JournalEntry) -> JournalRow | None:
        """Return the row of an entry; None if a filter leaves it out."""
        if isinstance(entry, MintRecord | ExtensionRecord):
            name, owner = entry.claims.execution_branch_id, entry.claims.client_id
            self._remember(entry.claims)
        else:
            name, owner = entry.branch, entry.by
        known = self._branches.get(name, _Branch("", ()))
        if not self._matches(entry, name, owner, known):
            return None
        common = {
            "time": _moment(entry.at),
            "orchestrator": owner,
            "branch": name,
            "role": known.role,
            "parent": known.ancestors[-1] if known.ancestors else "",
        }
        return JournalRow(**common, **_details(entry))  # type: ignore[arg-type] # of mixed types

    def _remember(self, claims: Claims) -> None:
        ancestors = tuple(element.id for element in claims.branch_path)
        self._branches[claims.execution_branch_id] = _Branch(claims.agent_role, ancestors)
        if len(self._branches) > limits.journal_branches_max:
            self._branches.popitem(last=False)

    def _matches(self, entry: JournalEntry, name: str, owner: str, known: _Branch) -> bool:
        asked = self._question
        way = "" if isinstance(entry, BranchRevoked) else entry.way
        return (
            asked.crew in {None, owner.partition("/")[0]}
            and asked.orchestrator in {None, owner}
            and asked.branch in {None, name, *known.ancestors}
            and asked.grant in {None, _grant(entry)}
            and (asked.since is None or entry.at >= asked.since.timestamp())
            and (not asked.refused or isinstance(entry, ExtensionRefused))
            and not (asked.without_renewals and _is_renewal(entry, way))
        )


def _grant(entry: JournalEntry) -> str:
    if isinstance(entry, BranchRevoked):
        return ""
    return entry.grant if isinstance(entry, ExtensionRefused) else entry.claims.jti


def _is_renewal(entry: JournalEntry, way: str) -> bool:
    """Return whether it is a token that nobody asked for; earlier versions wrote no `way`."""
    if not isinstance(entry, ExtensionRecord):
        return False
    return way in _AUTOMATIC or (not way and entry.reason in {"expires", "resumed"})


def _details(entry: JournalEntry) -> dict[str, object]:
    if isinstance(entry, BranchRevoked):
        return {"event": "revoke", "reason": entry.reason}
    found: dict[str, object] = {
        "reason": entry.reason,
        "way": entry.way,
        "decided_by": entry.decided_by,
    }
    if isinstance(entry, ExtensionRefused):
        return found | {
            "event": "refuse",
            "grant": entry.grant,
            "seconds": entry.seconds,
            "credits_micro": entry.credits,
            "tools": [*entry.tools],
            "answer": entry.answer,
        }
    claims = entry.claims
    found |= {
        "grant": claims.jti,
        "quota_micro": claims.credit_quota,
        "expires": _moment(claims.exp),
        "ends_at": None if entry.ends_at is None else _moment(entry.ends_at),
    }
    if isinstance(entry, MintRecord):
        return found | {
            "event": "mint",
            "seconds": claims.exp - claims.iat,
            "credits_micro": claims.credit_quota,
            "tools": claims.allowed_tools,
        }
    return found | {
        "event": "extend",
        "seconds": entry.seconds,
        "credits_micro": entry.credits,
        "tools": [*entry.tools],
        "end_moved": entry.end_moved,
        "answer": entry.answer,
    }


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
