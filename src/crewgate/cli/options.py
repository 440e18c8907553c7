"""Options that several commands share, and the sorts of values that people type."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from crewgate.core.credits import parse_credits

Function = TypeVar("Function", bound=Callable[..., Any])

_DURATION = re.compile(r"([0-9]{1,7})(s|m|h|d)?", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Subcommands(click.Group):
    """Lists its commands with the whole first sentence of each; click cuts it short."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As `crewgate` itself lists its own."""
        rows = [(name, self.commands[name].help or "") for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, text.partition("\n\n")[0]) for name, text in rows])


class CreditsParam(click.ParamType[int]):
    """Decimal text such as 2.50, to micro-credits."""

    name = "credits"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Micro-credits, or click's usage error."""
        if isinstance(value, int):
            return value
        try:
            return parse_credits(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class DurationParam(click.ParamType[int]):
    """A whole number with a unit, such as 90s, 15m, 2h or 1d, to seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Seconds, or click's usage error."""
        if isinstance(value, int):
            return value
        match = _DURATION.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is no duration; write 90s, 15m, 2h or 1d", param, ctx)
        return int(match[1]) * _SECONDS[match[2] or "s"]


def until_option(function: Function) -> Function:
    """--until: how many machines must have a revocation on disk before it is answered."""
    return click.option(
        "--until",
        type=click.Choice(["local", "quorum", "all"]),
        callback=lambda _context, _option, value: value or "",
        show_default="quorum, where there are other machines",
        help="Wait until it is on the disk of this machine, of a majority, or of all.",
    )(function)


def config_option(function: Function) -> Function:
    """-c FILE: the configuration, given to the command as `config_path`."""
    return click.option(
        "-c",
        "--config",
        "config_path",
        metavar="FILE",
        required=True,
        type=click.Path(dir_okay=False, path_type=Path),
        help="The configuration file.",
    )(function)


def json_option(function: Function) -> Function:
    """--json: one JSON document on standard output, given to the command as `as_json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON document on standard output."
    )(function)


def with_program_name(text: str) -> str:
    """With the program's name before each line, as several problems have one each."""
    return "\n".join(f"crewgate: {line}" for line in text.splitlines())


def state_of(config_path: Path) -> Path:
    """Return the folder in which the agent of a configuration listens.

    A mistake in the file is a warning here: the gateway goes on by the last one that was good, and
    who is in the midst of an edit must be able to stop a branch. ConfigurationError if there is no
    such folder either.
    """
    from crewgate.config import load
    from crewgate.errors import ConfigurationError

    try:
        return load(config_path).state
    except ConfigurationError as error:
        state = config_path.parent / _named_state(config_path)
        if not state.is_dir():
            raise
        click.echo(
            with_program_name(f"{error}\nthat is not in force; asking the agent in {state}"),
            err=True,
        )
        return state


def _named_state(config_path: Path) -> str:
    """The folder that a file names, whatever else is wrong with it."""
    try:
        state = tomllib.loads(config_path.read_text(encoding="utf-8")).get("state")
    except (OSError, ValueError):
        state = None
    return state if isinstance(state, str) else "state"
