"""Shows the demo to a person: the crew at work while the story plays, and the summary at its end.

Other modules count every figure of the summary. Texts that came from outside are escaped.
"""

import time
from collections import Counter
from textwrap import wrap
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from crewgate.core.terminal_text import printable
from crewgate.demo.act_figures import ClusterFigures, CrossCrewFigures
from crewgate.demo.agents import AgentEvent
from crewgate.demo.story import CAST, ROLES, RUN_CREDITS
from crewgate.demo.story_figures import DemoResult

_QUOTAS = {part.role: part.credits for part in CAST}
_TOOLS = {part.role: " ".join(part.tools) for part in CAST}

_NUMBERS = {"credits", "answered", "refused", "spent/of"}


class Display:
    """Prints new kinds of events as lines, and a live table on a terminal; use it in a `with`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._admitted: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._last_refusals: dict[str, str] = {}
        self._printed: set[tuple[str, str]] = set()
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
        """Print a line, with the seconds since the demo began."""
        head = f"{time.monotonic() - self._start:5.1f} s  "
        width = max(self._console.width, 2 * len(head)) if self._console.is_terminal else 0
        lines = (
            wrap(printable(text), width - len(head), break_long_words=False, break_on_hyphens=False)
            if width
            else [printable(text)]
        )
        shown = f"\n{' ' * len(head)}".join(lines)
        self._console.print(Text(f"{head}{shown}"), soft_wrap=True)

    def on_event(self, role: str, event: AgentEvent) -> None:
        """Count an event of an agent, and print it if it is the first of its kind."""
        if event.what == "opened" and event.admitted:
            self._admitted[role] += 1
            self._print_once(role, f"the {role} opens a stream at {event.path}")
        elif event.what == "ended":
            self._last_refusals[role] = f"stream ended: {event.reason}"
            self._print_once(role, f"the stream of the {role} ends: {event.reason}")
        elif event.admitted:
            self._admitted[role] += 1
            self._print_once(role, f"the {role} calls {event.path}")
        else:
            self._refused[role] += 1
            why = f"{event.status or 'no answer'} {event.reason}".strip()
            self._last_refusals[role] = why
            count = self._admitted[role] + self._refused[role]
            verb = "is refused" if event.status else "fails"
            self._print_once(role, f"call {count} of the {role} to {event.path} {verb}: {why}")

    def _print_once(self, role: str, text: str) -> None:
        # A line that differs only in a count is not new.
        key = "".join(letter for letter in text if not letter.isdigit())
        if (role, key) not in self._printed:
            self._printed.add((role, key))
            self.print_line(text)

    def _table(self) -> Table:
        names = "sub-agent", "may use", "credits", "answered", "refused", "last refusal"
        table = _new_table(*names)
        for role in ROLES:
            table.add_row(
                role,
                _TOOLS.get(role, "all of these"),
                _QUOTAS.get(role, RUN_CREDITS),
                str(self._admitted[role]),
                str(self._refused[role]),
                Text(printable(self._last_refusals.get(role, ""))),
            )
        return table


def show(result: DemoResult, console: Console) -> None:
    """Print the summary: who spent what, the figures, and each promise that was broken."""
    console.print()
    console.print(_threads(result))
    console.print()
    for line in _lines(result):
        console.print(Text(line), soft_wrap=True)
    for text in result.broken:
        console.print(Text(f"BROKEN: {printable(text)}", style="bold red"), soft_wrap=True)
    if result.held:
        verdict = f"Every promise held, {result.seconds:g} s after the gateway was ready."
        console.print(Text(verdict, style="bold green"))


def _new_table(*names: str, no_wrap: bool = False) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=no_wrap)
    return table


def _threads(result: DemoResult) -> Table:
    # The table has 79 columns, so no id is cut off: a person can paste it into another command.
    table = _new_table("role", "branch", "answered", "refused", "spent/of", no_wrap=True)
    table.title, table.title_justify = "Who spent what, by the audit", "left"
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
    border, restart, copied = result.border, result.restart, result.copied
    collector = result.collector
    loop = (
        f"{researcher.admitted} calls for {researcher.spent_credits:.2f} of "
        f"{researcher.quota_credits:.2f} credits, then a rule ended it"
    )
    pages = (
        f"{collector.admitted} calls for {collector.spent_credits:.2f} of "
        f"{collector.quota_credits:.2f} credits, then {collector.refused} refused"
    )
    again = (
        f"{restart.spent_credits:.2f} of {collector.quota_credits:.2f} still spent; "
        f"one more call: {restart.again}"
    )
    cut = (
        f"stream cut in {revocation.cut_ms:.1f} ms; "
        f"{revocation.calls_admitted_after} later calls accepted"
    )
    rows = [
        ("Retry loop", loop),
        ("Alert", _alert(result)),
        ("Always new pages", pages),
        ("Copied token", f"{copied.alone}; with another key: {copied.other_key}"),
        ("Restart", again),
        ("Out of scope", f"{result.scope_denials} calls of the drafter to /search refused"),
        ("Revocation", cut),
        ("Unaffected", f"{siblings.calls} calls of its siblings, {siblings.failed} failed"),
        (
            "Cross-crew calls",
            f"crew Finance answered {border.admitted} calls of crew BD, by BD's certificate",
        ),
        ("Of another crew", f"{border.copied}; on the crews' port: {border.dropped}"),
        *_decommissioning(border),
        *_cluster(result.everywhere),
        ("Audit", f"{result.unattributed_calls} calls reached a tool without a record"),
    ]
    return [f"{label:<17}{text}" for label, text in rows]


def _alert(result: DemoResult) -> str:
    if not result.alert.text:
        return "none came"
    sign = "good" if result.alert.is_signed else "bad"
    return f"a rule has ended a branch; the signature is {sign}"


def _decommissioning(border: CrossCrewFigures) -> list[tuple[str, str]]:
    within = f"in {border.closed_ms:.1f} ms" if border.closed_ms >= 0 else "by the CRL"
    return [
        ("Decommissioned", f"orchestrator bd-1: its stream closed {within}"),
        ("Its credentials", f"{border.after}; token: {border.token_after}"),
        ("Unaffected", f"{border.others_calls} calls of bd-2, {border.others_failed} failed"),
    ]


def _cluster(everywhere: ClusterFigures) -> list[tuple[str, str]]:
    cut = "not cut" if everywhere.cut_ms is None else f"cut in {everywhere.cut_ms:.1f} ms"
    known = f"on the disks of {everywhere.applied_on} of {everywhere.of} machines"
    admitted, refused = everywhere.calls_admitted_after, everywhere.calls_refused_after
    others, failed = everywhere.others_calls, everywhere.others_failed
    return [
        ("Three gateways", f"revoked at gateway 1; its stream at gateway 2 {cut}"),
        ("Receipt", f"{known} after {everywhere.receipt_ms:.1f} ms"),
        ("Its later calls", f"{admitted} accepted, {refused} refused at gateway 3"),
        ("Unaffected", f"{others} calls at gateways 2 and 3, {failed} failed"),
    ]
