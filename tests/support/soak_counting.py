"""The books of a soak: what tools and clients saw, held against the audit and the ledger.

Balanced at quiet points, when nothing is in flight: every request that reached a tool has exactly
one final record, what the ledger says was spent is the sum over the records, and the metrics have
each record once. Knows nothing of how the gateway counts.
"""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from soak_errors import Faults
from soak_metrics import MetricsBook
from soak_population import Branch
from soak_site import EXTRA, TOOLS, SoakSite

PRICES = {tool.name: {tool.price, tool.price + tool.rise} for tool in (EXTRA, *TOOLS)}
# RFC 9110 §9.2.2: a proxy may repeat these if their connection ends without an answer.
IDEMPOTENT = {tool.name for tool in TOOLS if tool.method in {"GET", "PUT"}}
CUT_SECONDS = 1.5  # wide: a call that lives so long after its branch was not ended with it
ERRORS = {"401 branch-revoked": "revoked", "401 token-expired": "expired"}


class Line(msgspec.Struct, frozen=True, gc=False):
    """What is read of a line of the audit; texts are empty where the line has none."""

    kind: str
    request: str = ""
    crew: str = ""
    branch: str = ""
    ancestry: tuple[str, ...] = ()
    tool: str = ""
    verdict: str = ""
    outcome: str = ""
    reason: str = ""
    cause: str = ""
    would: str = ""
    status: int = 0
    cost_micro: int = 0
    count: int = 0
    time: datetime = datetime.min.replace(tzinfo=UTC)
    duration_us: int = 0

    @property
    def ended(self) -> float:
        """When a call ended, in seconds of the wall clock."""
        return self.time.timestamp() + self.duration_us / 1e6

    def __str__(self) -> str:
        told = self.outcome or self.cause
        return f"{self.kind} {self.request} {self.tool} {self.reason or told} {self.cost_micro}"


class Told(NamedTuple):
    """What a client saw of a request, and as whom it asked."""

    outcome: str
    branch: Branch


class Tail:
    """Reads what was appended to files since the last look, by whole lines."""

    def __init__(self) -> None:
        self._read: dict[Path, int] = {}

    def lines(self, path: Path) -> list[bytes]:
        """The new lines of a file."""
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read[path] = self._read.get(path, 0) + len(whole)
        return whole.splitlines()


class Books:
    """What was seen since the last balance, and the sums since the start."""

    def __init__(self, site: SoakSite, faults: Faults) -> None:
        self.site = site
        self.counts: Counter[str] = Counter()
        self.strangers: Counter[str] = Counter()  # refusals that need no record, by slug
        self.refused: Counter[str] = Counter()  # the same as the audit sums them up
        self._faults = faults
        self._told: dict[str, Told] = {}
        self._tail = Tail()
        self._metrics = MetricsBook(site.port + 4)
        self._spent: Counter[str] = Counter()  # by branch, and by crew
        self._decode = msgspec.json.Decoder(Line).decode

    def tell(self, request: str, told: Told, *, recorded: bool) -> None:
        """Take what a client saw of a request."""
        if not recorded:
            self.strangers[told.outcome.partition(" ")[2]] += 1
        elif request:
            self._told[request] = told

    def balance(self) -> None:
        """Hold everything since the last balance together; nothing may be in flight."""
        seen = self._read_tools()
        finals, opened = self._read_audit()
        told, self._told = self._told, {}
        self.counts["requests that reached a tool"] += len(seen)
        self._check_finals(finals)
        for request in seen.keys() - finals.keys():
            self._faults.add("reached a tool and has no record", f"{seen[request]} {request}")
        for request in opened - finals.keys():
            self._faults.add("opened and never ended", request)
        for request, lines in finals.items():
            self._check_reach(lines, reached=request in seen)
        for request, each in told.items():
            self._check_told(request, each, finals.get(request, []))
        self._check_ledger()
        self._metrics.check(self._faults)

    def read_refusals(self) -> None:
        """Take the summaries that a gateway writes when it ends."""
        self._read_audit()

    # Inside.

    def _read_tools(self) -> dict[str, str]:
        """Requests that reached a tool, once each, and which tool it was."""
        seen: dict[str, str] = {}
        for tools in self.site.tools.values():
            for line in self._tail.lines(tools.log):
                request, tool = line.decode().split()
                if request in seen and tool in IDEMPOTENT:
                    self.counts["calls repeated after a kept connection had ended"] += 1
                elif request in seen:
                    self._faults.add("reached a tool twice", f"{request} {tool}")
                seen[request] = tool
        return seen

    def _read_audit(self) -> tuple[dict[str, list[Line]], set[str]]:
        """Final records by request, and the streams that were opened."""
        finals: dict[str, list[Line]] = {}
        opened: set[str] = set()
        for path in sorted(self.site.audit.glob("*.jsonl")):
            for text in self._tail.lines(path):
                try:
                    line = self._decode(text)
                except msgspec.DecodeError as error:
                    self._faults.add("a line that is no record", f"{path.name}: {error}")
                    continue
                self._metrics.take(text)
                if line.kind in {"call", "burned"}:
                    finals.setdefault(line.request, []).append(line)
                elif line.kind == "open":
                    opened.add(line.request)
                elif line.kind == "refusals":
                    self.refused[line.reason] += line.count
        return finals, opened

    def _check_finals(self, finals: dict[str, list[Line]]) -> None:
        """One final record each, and its cost where it belongs."""
        for request, lines in finals.items():
            kinds = sorted(line.kind for line in lines)
            if kinds == ["burned", "call"] and lines[0].branch == lines[1].branch:
                # Killed between record and settlement: the same credit under one id, by design.
                self.counts["requests recorded and burned"] += 1
            elif len(lines) > 1:
                self._faults.add("more than one final record", " | ".join(map(str, lines)))
            line = lines[-1]
            self.counts["refusals with a record"] += line.verdict == "deny"
            self.counts["calls permitted"] += line.verdict == "permit"
            self.counts["calls burned"] += kinds == ["burned"]
            if not request:
                self._faults.add("a record without a request", str(line))
            for account in {line.branch, *line.ancestry, f"crew {line.crew}"}:
                self._spent[account] += max(each.cost_micro for each in lines)

    def _check_reach(self, lines: list[Line], *, reached: bool) -> None:
        """Who was answered has reached the tool; who reached it has been charged.

        A call whose credit was burned under it has its cost in that record, not in its own.
        """
        line, cost = lines[-1], max(each.cost_micro for each in lines)
        if reached and line.verdict == "deny":
            self._faults.add("refused, and reached a tool", str(line))
        if line.verdict == "permit" and cost not in {0, *PRICES[line.tool]}:
            self._faults.add("charged another price", str(line))
        if not reached and line.outcome == "done":
            self._faults.add("done without having reached a tool", str(line))
        # An observed call is free if it would have been refused. A burned record does not say so.
        observed = line.would or (line.kind == "burned" and line.tool == "soak.observed")
        free = line.tool == "soak.free" or observed
        if reached and not cost and not free:
            self._faults.add("reached a tool for nothing", " | ".join(map(str, lines)))

    def _check_told(self, request: str, told: Told, lines: list[Line]) -> None:
        """The record says what the client saw, and nothing went on for a dead branch."""
        outcome = told.outcome
        if not lines:
            self._faults.add("seen by a client and has no record", f"{outcome} {request}")
            return
        line = lines[-1]
        if line.verdict == "permit" and line.ended > told.branch.ended_wall + CUT_SECONDS:
            self._faults.add("went on after the end of its branch", f"{outcome} | {line}")
        status, _, slug = outcome.partition(" ")
        if line.kind == "burned":
            right = line.cause == "owner-died"
        elif outcome == "200" or slug == "of the tool":
            right = (line.outcome, line.status) == ("done", int(status))
            if line.outcome in ERRORS.values():  # its branch ended with its last byte
                self.counts["answers whole in the moment of their end"] += 1
                right = True
        elif slug.startswith("upstream-"):
            right = line.outcome == "upstream-error"
        elif outcome in ERRORS and line.verdict == "permit":
            right = line.outcome == ERRORS[outcome]
        elif status in {"left", "torn", "cut"}:
            right = line.verdict == "permit"
        else:
            right = line.verdict == "deny" and line.reason == slug
        if not right:
            self._faults.add("a record that says another thing", f"{outcome} | {line}")

    def _check_ledger(self) -> None:
        """What was spent is the sum over the records, for every branch and the crew."""
        for row in self.site.tree():
            account = row.branch or f"crew {row.crew}"
            spent = row.spent + row.burned
            if spent != self._spent[account] or row.reserved:
                self._faults.add(
                    "the ledger and the records differ",
                    f"{account}: {row.spent} spent, {row.burned} burned, {row.reserved} held; "
                    f"recorded {self._spent[account]}",
                )
