"""The manual pages: crewgate(1), a page for each command, and crewgate.toml(5).

`python -m _generate.man FOLDER` writes them. They have what `crewgate COMMAND --help` and the
reference of the configuration have, and the tables of `docs/reference/commands.md`.
"""

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from docutils.core import publish_string

from _generate import rest
from crewgate import __version__
from crewgate.cli import COMMANDS, main
from crewgate.config import reference

_COMMANDS_PAGE = Path(__file__).parents[1] / "reference" / "commands.md"
_CONFIGURATION_PAGE = _COMMANDS_PAGE.with_name("configuration.md")
_METAVAR = re.compile(r"[A-Z]{2,}[A-Z/.:|-]*")
_HEAD = """\
{rule}
{name}
{rule}

{under}
{summary}
{under}

:Manual section: {section}
:Manual group: Crewgate
:Version: crewgate {version}
:Date: {date}

"""
_ABOUT = (
    "Crewgate is a gateway between AI agents and the tools that they call. A crew is a group of AI "
    "agents that work together: an orchestrator and its sub-agents. The gateway knows which "
    "sub-agent calls, which tools it may use, and what it may still spend. It can end the access "
    "of exactly one sub-agent, and of everything that this sub-agent started."
)
_FILES = (
    ("crewgate.toml", "The configuration of a machine; see `crewgate.toml(5)`."),
    ("crewgate.schema.json", "A JSON Schema of the configuration, for editors."),
)


def pages(date: str) -> dict[str, str]:
    """The text of each page, by its path such as `man1/crewgate.1`. `date` is as in 2026-12-31."""
    root = click.Context(main, info_name="crewgate", **main.context_settings)
    texts = {("crewgate", 1): _overview(root), ("crewgate.toml", 5): _configuration()}
    for name, inner in _below(root):
        texts[f"crewgate-{name}", 1] = _command_page(name, inner)
    return {
        f"man{section}/{name}.{section}": _roff(name, section, summary, text, date)
        for (name, section), (summary, text) in texts.items()
    }


def _roff(name: str, section: int, summary: str, text: str, date: str) -> str:
    rule, under = "=" * len(name), "-" * len(summary)
    head = _HEAD.format(
        rule=rule, under=under, name=name, summary=summary, section=section,
        version=__version__, date=date,
    )  # fmt: skip
    settings = {"report_level": 2, "halt_level": 2, "file_insertion_enabled": False}
    found = publish_string(head + text, writer="manpage", settings_overrides=settings)
    roff = found.decode() if isinstance(found, bytes) else str(found)
    # A heading has its own space. Readers of manual pages look for NAME in capitals.
    roff = re.sub(r"^(\.S[HS] .*\n)\.sp\n", r"\1", roff, flags=re.MULTILINE)
    # No hyphen and no wide gap may come into what a reader copies.
    roff = roff.replace(".SH Name\n", ".nh\n.ad l\n.SH NAME\n")
    roff = re.sub(r"[^\x00-\x7f]", lambda found: rf"\[u{ord(found[0]):04X}]", roff)
    return f".ds AD l\n{roff}"


def _overview(root: click.Context) -> tuple[str, str]:
    rows = (
        (rest.strong(f"crewgate-{name}(1)"), rest.text(summary))
        for name, summary in COMMANDS.items()
    )
    files = ((rest.strong(name), rest.text(meaning)) for name, meaning in _FILES)
    parts = [
        rest.section("SYNOPSIS", _usage(root)),
        rest.section("DESCRIPTION", rest.text(_ABOUT)),
        rest.section("COMMANDS", rest.definitions(rows)),
        rest.section("OPTIONS", _options(root)),
        rest.section("EXIT STATUS", _rows("Exit statuses", 0), _rows("Exit statuses", 1)),
        rest.section("ENVIRONMENT", _rows("Environment variables", 0)),
        rest.section("SIGNALS", _rows("Signals", 0)),
        rest.section("FILES", rest.definitions(files)),
        _see_also("crewgate.toml(5)"),
    ]
    return "gateway for the tool traffic of AI-agent crews", "\n\n".join(parts)


def _command_page(name: str, context: click.Context) -> tuple[str, str]:
    parts = [
        rest.section("SYNOPSIS", *_synopsis(context)),
        rest.section("DESCRIPTION", *_help(context)),
    ]
    inner = list(_below(context, deep=True))
    if inner:
        parts.append(rest.section("COMMANDS"))
        parts += [_subcommand(path, each) for path, each in inner]
    else:
        parts.append(rest.section("OPTIONS", _options(context)))
    status = [
        (rest.strong("1"), rest.text(f"{meaning} (`{commands}`)" if inner else meaning))
        for commands, meaning in _table("Exit statuses", 1)
        if any(each.split()[0] == name for each in re.findall("`([^`]+)`", commands))
    ]
    if status:
        note = rest.text("See `crewgate(1)` for the other statuses.")
        parts.append(rest.section("EXIT STATUS", rest.definitions(status), note))
    return COMMANDS[name].rstrip("."), "\n\n".join(
        [*parts, _see_also("crewgate(1)", "crewgate.toml(5)")]
    )


def _synopsis(context: click.Context) -> Iterator[str]:
    inner = list(_below(context, deep=True))
    yield from (_usage(each) for _, each in inner or [("", context)])


def _subcommand(path: str, context: click.Context) -> str:
    title = f"crewgate {path}"
    return rest.section(title, _usage(context), *_help(context), _options(context), mark="-")


def _help(context: click.Context) -> Iterator[str]:
    for paragraph in (context.command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):  # click keeps the lines of such a paragraph
            yield rest.literal(paragraph.removeprefix("\b").strip("\n"))
        else:
            yield rest.text(paragraph.strip())


def _below(context: click.Context, *, deep: bool = False) -> Iterator[tuple[str, click.Context]]:
    """The commands below a group; with `deep`, those that are no groups, with their whole path."""
    if not isinstance(context.command, click.Group):
        return
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, parent=context, info_name=name)
        if deep and isinstance(command, click.Group):
            yield from _below(inner, deep=True)
        else:
            yield inner.command_path.partition(" ")[2] if deep else name, inner


def _usage(context: click.Context) -> str:
    pieces = context.command.collect_usage_pieces(context)
    return " ".join([rest.strong(context.command_path), *map(_with_metavars, pieces)])


def _options(context: click.Context) -> str:
    """A list of the options with their help."""
    rows = []
    for each in context.command.get_params(context):
        record = each.get_help_record(context)
        if record is not None and record[1]:
            meaning = "Show the usage and the options." if "--help" in each.opts else record[1]
            rows.append((_option(record[0]), rest.text(meaning)))
    return rest.definitions(rows)


def _option(usage: str) -> str:
    """`-c, --config FILE` with its names in bold and the word for its value in italics."""
    names, _, value = usage.partition(" ") if "," not in usage else _split_names(usage)
    written = ", ".join(rest.strong(name) for name in names.split(", "))
    return f"{written} {_with_metavars(value)}" if value else written


def _split_names(usage: str) -> tuple[str, str, str]:
    match = re.match(r"((?:-[\w-]+, )*-[\w-]+)( ?)(.*)", usage)
    assert match is not None
    return match[1], match[2], match[3]


def _with_metavars(usage: str) -> str:
    parts = re.split(f"({_METAVAR.pattern})", usage)
    return "".join(
        rest.emphasis(part) if number % 2 else rest.text(part) for number, part in enumerate(parts)
    )


def _configuration() -> tuple[str, str]:
    page = _CONFIGURATION_PAGE.read_text(encoding="utf-8")
    rules = re.findall(r"^\* (.+(?:\n  .+)*)", page.partition("\n## ")[0], re.MULTILINE)
    parts = [
        rest.section(
            "DESCRIPTION",
            rest.text(
                "This file in the format TOML configures one machine. `crewgate init` writes a "
                "file for a new machine. `crewgate check -c FILE` checks a file and everything "
                "that it names. `crewgate config schema` prints a JSON Schema for editors."
            ),
            *(f"* {rest.text(rule)}" for rule in rules),
            rest.text(
                "NAME in a heading stands for a name that you choose. A change takes effect as "
                "soon as the file has changed, unless the text of the key says that it needs a "
                "restart: end `crewgate serve`, and start it again."
            ),
        ),
        *(_table_section(table) for table in reference.tables()),
        _see_also("crewgate(1)", "crewgate-check(1)", "crewgate-config(1)", "crewgate-init(1)"),
    ]
    return "configuration of a Crewgate gateway", "\n\n".join(parts)


def _table_section(table: reference.TableReference) -> str:
    rows = ((rest.strong(key.name), _key(key)) for key in table.keys)
    title = table.heading or "TOP OF THE FILE"
    return rest.section(title, rest.text(table.text), rest.definitions(rows))


def _key(key: reference.KeyReference) -> str:
    default = "Required" + key.default.removeprefix("required")
    if not key.default.startswith("required"):
        default = f"Default: {key.default}"
    restart = " A change needs a restart." if key.change == "restart" else ""
    return f"{rest.text(key.text)}\n\n{rest.text(f'Value: {key.values}. {default}.{restart}')}"


def _rows(title: str, number: int) -> str:
    """A table of the page of the commands as a list: further columns have their title before."""
    head, *rows = _table(title, number, with_head=True)
    found = []
    for first, *cells in rows:
        lines = [
            rest.text(cell if column == "meaning" else f"{column[0].upper()}{column[1:]}: {cell}")
            for column, cell in zip(head[1:], cells, strict=True)
        ]
        found.append((rest.strong(first.strip("`")), "\n\n".join(lines)))
    return rest.definitions(found)


def _table(title: str, number: int, *, with_head: bool = False) -> list[list[str]]:
    """The rows of a table below a heading of the page of the commands."""
    page = _COMMANDS_PAGE.read_text(encoding="utf-8")
    section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = [each for each in section.split("\n\n") if each.lstrip().startswith("|")][number]
    rows = [
        [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in found.strip().splitlines()
    ]
    return [*(rows[:1] if with_head else ()), *rows[2:]]


def _see_also(*names: str) -> str:
    return rest.section("SEE ALSO", ", ".join(rest.strong(name) for name in names))


def write(folder: Path) -> None:
    """Write the pages; SOURCE_DATE_EPOCH, if set, is their date."""
    seconds = float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    for name, text in pages(time.strftime("%Y-%m-%d", time.gmtime(seconds))).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
