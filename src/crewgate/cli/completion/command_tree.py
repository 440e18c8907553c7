"""The commands as a completion script needs them: names, options, and sorts of values."""

from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

import click

from crewgate.cli.options import ConfigNameParamType, FolderParamType

# Prints NAME of each heading [TABLE.NAME] or [TABLE."NAME"]: a program of `sed -nE`, in the double
# quotes of a shell. A name has no character that a shell could take for anything else.
HEADING_SED: Final = r"s/^\[TABLE\.(\"([a-z0-9_.-]+)\"|([a-z0-9_-]+))\][[:space:]]*(#.*)?\$/\2\3/p"


class ValueKind(Enum):
    """What a shell offers for a value."""

    NOTHING = "nothing"
    CHOICE = "choice"
    FILE = "file"
    FOLDER = "folder"
    CREW = "crew"
    TOOL = "tool"
    MCP_ENDPOINT = "mcp"
    ALERT_RECEIVER = "alert"
    COMMAND_LINE = "command-line"  # a command of the system, and its arguments


class Value(NamedTuple):
    """The value of an option or of an argument: its name in the usage, and what a shell offers."""

    name: str
    kind: ValueKind
    choices: tuple[str, ...] = ()


class CompletedOption(NamedTuple):
    """An option. `value` is None for a flag."""

    names: tuple[str, ...]
    summary: str
    value: Value | None
    is_repeatable: bool


class CompletedCommand(NamedTuple):
    """A command, or a group of `commands`, which are its names and summaries.

    `path` has no name of the program: "ledger report".
    """

    path: str
    summary: str
    options: tuple[CompletedOption, ...]
    arguments: tuple[Value, ...]
    commands: tuple[tuple[str, str], ...]


def commands_of(root: click.Group, program: str) -> list[CompletedCommand]:
    """Return the root and each command below it, parents first."""
    return list(_walk(click.Context(root, info_name=program, **root.context_settings), ""))


def _walk(context: click.Context, path: str) -> Iterator[CompletedCommand]:
    command = context.command
    options: list[CompletedOption] = []
    arguments: list[Value] = []
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option):
            options.append(_option(parameter, context))
        else:
            arguments.append(_value(parameter, context))
    below = _below(command, context)
    yield CompletedCommand(
        path,
        _first_sentence(command.help),
        tuple(options),
        tuple(arguments),
        tuple((name, _first_sentence(inner.command.help)) for name, inner in below),
    )
    for name, inner in below:
        yield from _walk(inner, f"{path} {name}".strip())


def _below(command: click.Command, context: click.Context) -> list[tuple[str, click.Context]]:
    if not isinstance(command, click.Group):
        return []
    found = ((name, command.get_command(context, name)) for name in command.list_commands(context))
    return [
        (name, click.Context(each, parent=context, info_name=name))
        for name, each in found
        if each is not None and not each.hidden
    ]


def _option(option: click.Option, context: click.Context) -> CompletedOption:
    return CompletedOption(
        (*option.opts, *option.secondary_opts),
        _first_sentence(option.help),
        None if option.is_flag or option.count else _value(option, context),
        option.multiple,
    )


def _value(parameter: click.Parameter, context: click.Context) -> Value:
    name = parameter.make_metavar(context).strip("[]")
    kind = parameter.type
    if isinstance(kind, click.Choice):
        return Value(parameter.human_readable_name, ValueKind.CHOICE, tuple(kind.choices))
    if isinstance(kind, FolderParamType):
        return Value(name, ValueKind.FOLDER)
    if isinstance(kind, click.Path):
        return Value(name, ValueKind.FILE)
    if isinstance(kind, ConfigNameParamType):
        return Value(name, ValueKind(kind.table))
    is_command_line = parameter.nargs < 0 and kind is click.UNPROCESSED
    return Value(name, ValueKind.COMMAND_LINE if is_command_line else ValueKind.NOTHING)


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split()).partition(". ")[0].removesuffix(".")
