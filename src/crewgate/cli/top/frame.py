"""Lays out the screen: a head, a table, and at the bottom a panel, a question and the keys.

It is pure: the same choices, reading and size give the same lines. Columns that do not fit are
left out from the right, so that 80 columns show what matters and a wide screen shows more.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar, cast

from rich.cells import cell_len, set_cell_size

from crewgate import limits
from crewgate.cli.output import not_asked
from crewgate.cli.output.tree import is_step_done, rule_text
from crewgate.cli.top.rates import Counts
from crewgate.cli.top.reading import LiveRow, Reading
from crewgate.cli.top.terminal import Line, Size
from crewgate.cli.top.view import AnyLine, Table, TreeLine, UsageLine, View
from crewgate.core.credits import MICRO
from crewgate.core.terminal_text import printable

L = TypeVar("L")
_ID_CHARS = 8  # of an id in a narrow table; `crewgate revoke` takes so many
_LEAST_ABOVE = 6  # lines above a panel, with those around it
_NAME_COLUMNS_MIN, _NAME_COLUMNS_MAX = 28, 72
_WHOLE_ID_COLUMNS = 60  # of the column with names, if it shows whole ids; 200 have them
_KEYS: tuple[tuple[str, str], ...] = (
    ("q", "quit"), ("Tab", "table"), ("s", "sort"), ("/", "filter"), ("Enter", "info"),
    ("e", "end"), ("u", "quarantine"), ("?", "help"),
)  # fmt: skip
HELP = (
    "q, Ctrl-C      quit; the receipts are printed again",
    "up, down, j, k select a row; also Page Up, Page Down, Home, End",
    "left, right    fold and unfold what is below a branch",
    "Tab            the next table: branches, tools, crews",
    "s              sort by credits/min, calls/min, spent, name",
    "/              show only rows with a text: role, crew, machine, id, state, rule",
    "a              show also the branches that had ended before",
    "Enter          all about the selected branch, with its whole id",
    "e              end the selected branch and all below it, after a question",
    "u              quarantine the orchestrator of the branch, after a question",
    "",
    "The amounts of a branch are those of it and all below it. A rate is about the",
    "last ten seconds. A dash: no rule counts the calls. !warn: a rule has warned;",
    "!refuse, !end: it refuses calls, or has ended the branch. ?refuse, ?end: it",
    "would, but only observes, or has ended a branch below.",
)


class Bottom(NamedTuple):
    """What stands below the table: a panel with a title, and a question with what is typed."""

    title: str = ""
    panel: Sequence[str] = ()
    question: str = ""
    typed: str | None = None
    note: str = ""


class Column(NamedTuple, Generic[L]):
    """A column: its heading, width in cells, and the text of a line with its style."""

    heading: str
    width: int
    text: Callable[[L], tuple[str, str]]
    is_number: bool = False


def frame(
    view: View, size: Size, bottom: Bottom, *, now: str, trouble: str = "", is_unicode: bool = True
) -> list[Line]:
    """Return the lines of a whole screen. `trouble` says why the reading is an old one."""
    head = _head(view, now, trouble, size.columns)
    foot = _foot(bottom, size)
    height = max(0, size.lines - len(head) - len(foot))
    table = _table(view, size.columns, height, is_old=bool(trouble), is_unicode=is_unicode)
    blank: list[Line] = [[]]
    return [*head, *table, *blank * (height - len(table)), *foot][-size.lines :]


def plain_lines(view: View, columns: int, *, is_unicode: bool = True) -> list[str]:
    """Return the head and the whole table without styles."""
    table = _table(view, columns, len(view.lines) + 2, is_old=True, is_unicode=is_unicode)
    view_head = _head(view, "", "", columns)
    return ["".join(text for text, _ in line).rstrip() for line in [*view_head, *table]]


def credits_text(micro: float) -> str:
    """Return an amount for people, of at most 9 characters as long as it is below 100,000,000."""
    amount = micro / MICRO
    for least, decimals in ((10_000, 4), (1_000_000, 2)):
        if round(amount, decimals) < least:
            return f"{amount:.{decimals}f}"
    return f"{amount:.0f}"


def _head(view: View, now: str, trouble: str, columns: int) -> list[Line]:
    reading = view.reading
    if reading is None:
        return [[("crewgate top", "bold"), (f"  {trouble or 'asking the agent'}", "")]]
    total, machines = reading.total, len(reading.found.machines)
    live = f"{reading.live} live of {_count(reading.branches, 'branch')}"
    first = f"  {_count(machines, 'machine')}, {live}"
    lines: list[Line] = [[("crewgate top", "bold"), (first, ""), (f"  {now}" if now else "", "")]]
    if view.pattern:
        lines[0] = [*lines[0], (f"  filter: {printable(view.pattern)}", "warning")]
    rates = f"{credits_text(total.spent)} credits/min  {total.calls:.0f} calls/min"
    if total.refused:
        rates += f"  {total.refused:.0f} refused/min"
    if not reading.seconds:
        rates = "rates come with the next reading"
    chosen = f"  {view.table} by {view.order}"
    if view.table is Table.BRANCHES and view.shows_ended:
        chosen += ", also ended ones"
    lines.append([(rates, "bold"), (chosen, "")])
    warnings = [] if trouble else not_asked.lines(reading.found.not_asked)
    if reading.found.left_out and not trouble:
        warnings.append(f"{reading.found.left_out} branches are left out: there are too many")
    text = trouble
    if warnings:
        text = warnings[0] + (f" (and {len(warnings) - 1} more)" if len(warnings) > 1 else "")
    told = wrapped(text, columns)[: limits.top_trouble_lines_max] if text else []
    lines += [[(each, "warning")] for each in told]
    return lines


def _count(number: int, word: str) -> str:
    plural = f"{word}es" if word.endswith("h") else f"{word}s"
    return f"{number} {word if number == 1 else plural}"


def _table(view: View, columns: int, height: int, *, is_old: bool, is_unicode: bool) -> list[Line]:
    if view.reading is None or height <= 0:
        return []
    is_one = len(view.reading.found.machines) + len(view.reading.found.not_asked) <= 1
    if view.table is Table.BRANCHES:
        wide = [each for each in _EXTRA if not (is_one and each.heading == "MACHINES")]
        shown = _that_fit([*_BRANCHES], wide, columns)
    else:
        shown = [*(_USAGE if view.table is Table.TOOLS else _CREWS)]
    room = columns - sum(each.width + 1 for each in shown)
    name_width = min(max(_ID_CHARS, room), _NAME_COLUMNS_MAX)
    title = "CREW AND BRANCH" if view.table is Table.BRANCHES else "CREW"
    heading = _row(title, name_width, [(each, each.heading) for each in shown])
    lines: list[Line] = [[(set_cell_size(heading, columns), "heading")]]
    for each in view.on_screen(height - 1):
        name = _tree_name(each, name_width, is_unicode=is_unicode)
        cells = [(column, *column.text(each)) for column in shown]
        if each.node == view.selected and not is_old:
            texts = [(column, text) for column, text, _ in cells]
            row = _row(name, name_width, texts)
            lines.append([(set_cell_size(row, columns), "selected")])
        else:
            style = "dim" if is_old else _row_style(each)
            parts: list[tuple[str, str]] = [(_fit(name, name_width), style)]
            for column, text, special in cells:
                parts.append(
                    (
                        " " + _fit(text, column.width, right=column.is_number),
                        "dim" if is_old else special or style,
                    )
                )
            lines.append(parts)
    if not any(isinstance(each, UsageLine) or each.has_branches for each in view.lines):
        told = _nothing(view, view.reading)
        lines.append([(told.partition(";")[0] if is_old else told, "")])
    return lines[:height]


def _nothing(view: View, reading: Reading) -> str:
    if view.pattern:
        return "nothing has this text; Escape shows all again"
    if view.table is not Table.BRANCHES:
        return "no call has ended since the gateway started"
    if reading.rows and not view.shows_ended:
        return "no branch is live; a shows those that have ended"
    return "no branch has made a call yet"


def _row(name: str, name_width: int, cells: Iterable[tuple[Column[AnyLine], str]]) -> str:
    texts = (_fit(text, column.width, right=column.is_number) for column, text in cells)
    return " ".join([_fit(name, name_width), *texts])


def _fit(text: str, width: int, *, right: bool = False) -> str:
    """Return a text that fills exactly `width` cells."""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, max(0, width - 1)) + ("…" if width else "")
    return " " * (width - length) + text if right else text + " " * (width - length)


def _that_fit(
    columns: list[Column[AnyLine]], more: Sequence[Column[AnyLine]], width: int
) -> list[Column[AnyLine]]:
    """Return the columns for a screen: fewer of them if it is narrow, and more if it is wide."""

    def used(chosen: Sequence[Column[AnyLine]]) -> int:
        return _NAME_COLUMNS_MIN + sum(each.width + 1 for each in chosen)

    more = more if used(columns) <= width else ()
    while len(columns) > 1 and used(columns) > width:
        columns.pop()
    for each in more:
        if used([*columns, each]) <= width:
            columns.append(each)
    return columns


def _tree_name(line: AnyLine, width: int, *, is_unicode: bool) -> str:
    if isinstance(line, UsageLine):
        return printable(line.usage.crew)
    row, parts = line.live.row, []
    bars = ("│ ", "  ", "├─", "└─") if is_unicode else ("| ", "  ", "|-", "`-")
    parts += [bars[0] if more else bars[1] for more in line.guides[:-1]]
    if line.guides:
        parts.append(bars[2] if line.guides[-1] else bars[3])
    if not row.branch:
        parts.append(printable(row.crew))
    else:
        role = row.role or ("ancestor" if row.parent else "run")
        shown = row.branch if width >= _WHOLE_ID_COLUMNS else row.branch[:_ID_CHARS]
        parts.append(f"{printable(role)} {printable(shown)}")
    if line.folded:
        parts.append(f" +{line.folded}")
    return "".join(parts)


def _row_style(line: AnyLine) -> str:
    if isinstance(line, TreeLine):
        if not line.live.is_live:
            return "ended"
        return "" if line.live.row.branch else "bold"
    return ""


def state_text(live: LiveRow) -> str:
    """Return the state of a branch, with the step of a rule: !end is done, ?end would be."""
    row = live.row
    state = row.state if row.branch or row.state != "live" else ""
    if row.rule_step is None:
        return state
    return f"{state} {'!' if is_step_done(row) else '?'}{row.rule_step}"


def _state(line: AnyLine) -> tuple[str, str]:
    live = _live(line)
    is_warning = live.row.rule_step is not None or live.row.state == "exhausted"
    return state_text(live), "warning" if is_warning and live.is_live else ""


def _live(line: AnyLine) -> LiveRow:
    """Return the row of a line in the table of branches."""
    return cast("TreeLine", line).live


def _usage(line: AnyLine) -> tuple[Counts, Counts]:
    """Return the totals and the rates of a line in another table."""
    usage = cast("UsageLine", line).usage
    return usage.total, usage.rate


def _left(line: AnyLine) -> tuple[str, str]:
    left = _live(line).row.left
    return (credits_text(left) if left >= 0 else ""), ""


def _reserved(line: AnyLine) -> tuple[str, str]:
    reserved = _live(line).row.reserved
    return (credits_text(reserved) if reserved else ""), ""


def _calls(line: AnyLine) -> tuple[str, str]:
    live = _live(line)
    return (f"{live.rate.calls:.0f}" if live.counts_calls else "-"), ""


def _tool(line: AnyLine) -> tuple[str, str]:
    tool = line.usage.tool if isinstance(line, UsageLine) else ""
    return printable(tool) or "(unknown)", ""


_BRANCHES: tuple[Column[AnyLine], ...] = (
    Column("STATE", 13, _state),
    Column("CREDITS/M", 9, lambda line: (credits_text(_live(line).rate.spent), ""), is_number=True),
    Column("CALLS/M", 7, _calls, is_number=True),
    Column("SPENT", 9, lambda line: (credits_text(_live(line).row.spent), ""), is_number=True),
    Column("LEFT", 9, _left, is_number=True),
)
_EXTRA: tuple[Column[AnyLine], ...] = (
    Column("RULE", 14, lambda line: (printable(_live(line).row.rule), "")),
    Column(
        "MACHINES", 14,
        lambda line: (printable(" ".join(each.machine for each in _live(line).row.machines)), ""),
    ),
    Column("ORCHESTRATOR", 20, lambda line: (printable(_live(line).row.orchestrator), "")),
    Column(
        "RESERVED", 9, _reserved, is_number=True
    ),
    Column("FOR", 24, lambda line: (printable(_behalf(_live(line))), "")),
)  # fmt: skip
_COUNTS: tuple[Column[AnyLine], ...] = (
    Column("CREDITS/M", 9, lambda line: (credits_text(_usage(line)[1].spent), ""), is_number=True),
    Column("CALLS/M", 7, lambda line: (f"{_usage(line)[1].calls:.0f}", ""), is_number=True),
    Column("REFUSED/M", 9, lambda line: (f"{_usage(line)[1].refused:.0f}", ""), is_number=True),
    Column("SPENT", 9, lambda line: (credits_text(_usage(line)[0].spent), ""), is_number=True),
    Column("CALLS", 9, lambda line: (f"{_usage(line)[0].calls:.0f}", ""), is_number=True),
)
_USAGE: tuple[Column[AnyLine], ...] = (Column("TOOL", 20, _tool), *_COUNTS)
_CREWS = _COUNTS


def _foot(bottom: Bottom, size: Size) -> list[Line]:
    lines: list[Line] = []
    if bottom.panel or bottom.title:
        shown = [part for text in bottom.panel for part in wrapped(text, size.columns)]
        room = max(1, size.lines - _LEAST_ABOVE)
        lines.append([(_fit(f"── {bottom.title} ", size.columns), "bold")])
        lines += [[(text, "")] for text in shown[:room]]
    if bottom.question:
        asked = wrapped(bottom.question, size.columns)
        lines += [[(text, "warning")] for text in asked]
        lines.append([("> ", "key"), (bottom.typed or "", "bold"), ("_", "")])
    elif bottom.typed is not None:
        lines.append([("filter: ", "key"), (printable(bottom.typed), "bold"), ("_", "")])
    elif bottom.note:
        lines.append([(bottom.note, "good")])
    lines.append(_key_line(bottom))
    return lines[-size.lines :]


def _key_line(bottom: Bottom) -> Line:
    if bottom.question:
        keys: Sequence[tuple[str, str]] = (("yes Enter", "do it"), ("Escape", "do nothing"))
    elif bottom.typed is not None:
        keys = (("Enter", "keep"), ("Escape", "show all"))
    elif bottom.title:
        keys = (("any key", "back"),)
    else:
        keys = _KEYS
    parts: list[tuple[str, str]] = []
    for key, meaning in keys:
        parts += [(key, "key"), (f" {meaning}  ", "dim")]
    return parts


def wrapped(text: str, columns: int) -> list[str]:
    """Split a text into lines of at most `columns` cells, between words where that is possible."""
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if cell_len(longer) <= columns:
            line = longer
            continue
        if line:
            lines.append(line)
        rest = word
        while cell_len(rest) > columns > 0:
            cut = set_cell_size(rest, columns).rstrip() or rest[:1]
            lines.append(cut)
            rest = rest[len(cut) :]
        line = rest
    return [*lines, line]


def details(live: LiveRow) -> list[str]:
    """Return all that is known of a branch, a fact a line."""
    row = live.row
    facts = [
        ("crew", row.crew),
        ("branch", row.branch),
        ("state", row.state),
        ("role", row.role),
        ("orchestrator", row.orchestrator),
        ("for", _behalf(live)),
        ("process", row.process),
        ("parent", row.parent),
        ("below it", f"{_count(live.below, 'branch')}, {live.live_below} live" * bool(live.below)),
        ("credits", _amounts(live)),
        ("on", ", ".join(f"{each.machine} ({credits_text(each.spent)})" for each in row.machines)),
        ("rule", rule_text(row).removeprefix("rule ") if row.rule_step is not None else ""),
    ]
    return [f"{name:<13}{printable(text)}" for name, text in facts if text]


def _behalf(live: LiveRow) -> str:
    """Return on whose behalf the run acts, unless it acts for its orchestrator."""
    return "" if live.row.subject == live.row.orchestrator else live.row.subject


def _amounts(live: LiveRow) -> str:
    row = live.row
    parts = [f"{credits_text(row.spent)} spent"]
    if row.branch:
        parts[0] += f" of {credits_text(row.quota)}"
    if row.left >= 0:
        parts.append(f"{credits_text(row.left)} left")
    more = {"reserved": row.reserved, "leased": row.leased, "burned": row.burned}
    parts += [f"{credits_text(amount)} {word}" for word, amount in more.items() if amount]
    return ", ".join(parts)
