"""What a person sees: the crew at work while the story plays, and then what came of it.

Only shows; every figure is counted elsewhere. Texts that came from outside are escaped.
"""

import time
from collections import Counter
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from crewgate.core.terminal_text import printable
from crewgate.demo.agents import AgentEvent
from crewgate.demo.outcomes import ClusterOutcome, CrossCrewOutcome
from crewgate.demo.report import DemoResult
from crewgate.demo.story import CAST, ROLES, RUN_CREDITS

_QUOTAS = {part.role: part.credits for part in CAST}
_TOOLS = {part.role: " ".join(part.tools) for part in CAST}


class Display:
    """Tells what is new as a line, and on a terminal also counts live; use it in a `with`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._admitted: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._last: dict[str, str] = {}
        self._told: set[tuple[str, str]] = set()
        self._live = Live(
            console=console, get_renderable=self._table, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._live.stop()

    def print_line(self, text: str) -> None:
        """A line of the story, with the seconds since its beginning."""
        line = Text(f"{time.monotonic() - self._start:5.1f} s  {printable(text)}")
        self._console.print(line, soft_wrap=True)

    def on_event(self, role: str, said: AgentEvent) -> None:
        """Count what an agent said; what it says for the first time is told."""
        if said.what == "opened" and said.admitted:
            self._admitted[role] += 1
            self._once(role, f"the {role} opens a stream at {said.path}")
        elif said.what == "ended":
            self._last[role] = f"stream ended: {said.reason}"
            self._once(role, f"the stream of the {role} ends: {said.reason}")
        elif said.admitted:
            self._admitted[role] += 1
            self._once(role, f"the {role} calls {said.path}")
        else:
            self._refused[role] += 1
            why = f"{said.status or 'no answer'} {said.reason}".strip()
            self._last[role] = why
            count = self._admitted[role] + self._refused[role]
            self._once(role, f"the {role} is refused {said.path} at call {count}: {why}")

    def _once(self, role: str, text: str) -> None:
        # The same news with another count is no news.
        key = "".join(letter for letter in text if not letter.isdigit())
        if (role, key) not in self._told:
            self._told.add((role, key))
            self.print_line(text)

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
        for name in ("sub-agent", "may use", "credits", "answered", "refused", "last refusal"):
            numeric = name in {"credits", "answered", "refused"}
            table.add_column(name, justify="right" if numeric else "left")
        for role in ROLES:
            table.add_row(
                role,
                _TOOLS.get(role, "all of these"),
                _QUOTAS.get(role, RUN_CREDITS),
                str(self._admitted[role]),
                str(self._refused[role]),
                Text(printable(self._last.get(role, ""))),
            )
        return table


def show(result: DemoResult, console: Console) -> None:
    """The summary: what held, who spent what, and what did not hold."""
    console.print()
    console.print(_threads(result))
    console.print()
    for line in _lines(result):
        console.print(Text(line), soft_wrap=True)
    for text in result.broken:
        console.print(Text(f"NOT HELD: {printable(text)}", style="bold red"), soft_wrap=True)
    if result.held:
        console.print(Text(f"The story held, in {result.seconds:g} s.", style="bold green"))


def _threads(result: DemoResult) -> Table:
    table = Table(
        box=None, padding=(0, 1, 0, 0), header_style="bold",
        title="Who spent what, by the audit", title_justify="left",
    )  # fmt: skip
    # Together 79 columns: an id that is cut off could not be pasted into another command.
    for name in ("thread", "branch", "answered", "refused", "spent/of"):
        numeric = name in {"answered", "refused", "spent/of"}
        table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    for thread in result.threads:
        table.add_row(
            thread.role,
            thread.branch,
            str(thread.permitted),
            str(thread.denied),
            f"{thread.spent_credits:.2f}/{_QUOTAS.get(thread.role, RUN_CREDITS)}",
        )
    return table


def _lines(result: DemoResult) -> list[str]:
    researcher, revocation, siblings = result.researcher, result.revocation, result.siblings
    border, restart = result.border, result.restart
    loop = (
        f"The loop         {researcher.admitted} calls for {researcher.spent_credits:.2f} of "
        f"{researcher.quota_credits:.2f} credits, then {researcher.refused} refused"
    )
    cut = (
        f"The revocation   cut the stream in {revocation.cut_ms:.1f} ms (command: "
        f"{revocation.command_ms:.0f} ms); {revocation.calls_admitted_after} calls after it"
    )
    again = (
        f"The restart      {restart.spent_credits:.2f} of {researcher.quota_credits:.2f} are spent "
        f"as before: {restart.again}"
    )
    return [
        loop,
        again,
        f"The scraping     {result.scope_denials} calls refused as out of scope",
        cut,
        f"The siblings     {siblings.calls} calls, {siblings.failed} failed",
        f"The border       {border.admitted} answers of Finance to bd-1, by its certificate",
        f"The copied token {border.copied}; where crews come in: {border.dropped}",
        *_leaving(border),
        *_everywhere(result.everywhere),
        f"The audit        {result.unattributed_calls} calls without a name",
    ]


def _leaving(border: CrossCrewOutcome) -> tuple[str, str, str]:
    within = f"in {border.closed_ms:.1f} ms" if border.closed_ms >= 0 else "by the CRL"
    closed = f"closed bd-1's stream {within}"
    return (
        f"The leaving      {closed} (command: {border.command_ms:.0f} ms)",
        f"Who has left     {border.after}; its token: {border.token_after}",
        f"Who stays        {border.others_calls} calls of bd-2, {border.others_failed} failed",
    )


def _everywhere(everywhere: ClusterOutcome) -> tuple[str, str, str]:
    cut = "not cut" if everywhere.cut_ms is None else f"cut in {everywhere.cut_ms:.1f} ms"
    after = f"{everywhere.calls_admitted_after} calls at 3 after it"
    known = f"on the disks of {everywhere.applied_on} of {everywhere.of} machines"
    others = f"{everywhere.others_calls} calls at 2 and 3, {everywhere.others_failed} failed"
    return (
        f"Three gateways   revoked at 1: stream at 2 {cut}; {after}",
        f"The receipt      {known} after {everywhere.receipt_ms:.1f} ms",
        f"Who goes on      {others}",
    )
