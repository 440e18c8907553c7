"""The commands, as click knows them: usage, help, options."""

import click

from _generate.markdown import code, table, text
from crewgate.cli import main


def markdown() -> str:
    """A section for each command, in the order of `crewgate --help`."""
    root = click.Context(main, info_name="crewgate", **main.context_settings)
    return "\n".join(_sections(root, 2))


def _sections(context: click.Context, level: int) -> list[str]:
    """The sections of the commands below a group."""
    found = []
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, parent=context, info_name=name)
        found.append(_section(inner, level))
        if isinstance(command, click.Group):
            found += _sections(inner, level + 1)
    return found


def _section(context: click.Context, level: int) -> str:
    command = context.command
    usage = " ".join((context.command_path, *command.collect_usage_pieces(context)))
    parts = [f"{'#' * level} {context.command_path}\n", f"```text\n{usage}\n```\n"]
    parts += [f"{_paragraph(each)}\n" for each in (command.help or "").split("\n\n")]
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and "--help" not in parameter.opts:
            rows.append((code(record[0]), text(record[1])))
    if rows:
        parts.append(table(("option", "meaning"), rows))
    return "\n".join(parts)


def _paragraph(plain: str) -> str:
    """A paragraph of a help text; `click` keeps the lines of one that begins with a mark."""
    if plain.startswith("\b"):
        return f"```text\n{plain.removeprefix(chr(8)).strip(chr(10))}\n```"
    return text(plain)
