"""Options that several commands share, and the parsers of credits and durations."""

import json
import re
import tomllib
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from crewgate import limits
from crewgate.cli.output.line_wrapping import print_wrapped
from crewgate.core.credits import parse_credits
from crewgate.ipc.machine_messages import THIS_MACHINE
from crewgate.runtime.log_format import FORMAT_VARIABLE, LEVEL_VARIABLE, LogFormat, LogLevel

Function = TypeVar("Function", bound=Callable[..., Any])

_DURATION = re.compile(r"([0-9]{1,7})(s|m|h|d)?", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class UntruncatedHelpGroup(click.Group):
    """A group that lists its commands with their whole first paragraphs; click truncates them."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands as `crewgate` lists its own."""
        rows = [(name, self.commands[name].help or "") for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, text.partition("\n\n")[0]) for name, text in rows])


class ParsedIntParamType(click.ParamType[int]):
    """A text that `parse` converts to a number, or refuses with a ValueError for a person."""

    def __init__(self, name: str, parse: Callable[[str], int]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the number; fail with click's usage error for any other text."""
        try:
            return value if isinstance(value, int) else self._parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ConfigNameParamType(click.types.StringParamType):
    """The name of a `table` of the configuration: "crew", "tool" or "mcp". Shells complete it."""

    def __init__(self, table: str) -> None:
        self.table = table


class FolderParamType(click.Path):
    """A folder, which the command itself checks. Shells complete it."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)


def parse_duration(text: str) -> int:
    """Return the seconds of 90s, 15m, 2h or 1d; ValueError for any other text."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write 90s, 15m, 2h or 1d")
    return int(match[1]) * _SECONDS[match[2] or "s"]


CREDITS = ParsedIntParamType("credits", parse_credits)
DURATION = ParsedIntParamType("duration", parse_duration)
FOLDER = FolderParamType()
CREW_NAME = ConfigNameParamType("crew")
TOOL_NAME = ConfigNameParamType("tool")


def ttl_option(function: Function) -> Function:
    """Add --ttl, the lifetime of a token in seconds; None is the crew's maximum."""
    return click.option(
        "--ttl",
        type=DURATION,
        help="Lifetime of the token, such as 15m (default: the crew's maximum).",
    )(function)


def reason_option(
    function: Function, text: str = "Why, for the journal; `crewgate journal` shows it."
) -> Function:
    """Add --reason, a text of a person; `text` is its help."""
    return click.option("--reason", default="", metavar="TEXT", callback=_reason, help=text)(
        function
    )


def _reason(_context: click.Context, _option: click.Parameter, text: str) -> str:
    if len(text) > limits.reason_chars_max:
        raise click.BadParameter(f"longer than {limits.reason_chars_max} characters")
    return text


def life_option(text: str) -> Callable[[Function], Function]:
    """Add --life, the lifetime of a certificate in seconds; `text` is its help."""
    return click.option("--life", type=DURATION, metavar="4h", help=text)


def until_option(function: Function) -> Function:
    """Add --until: how many machines must have a revocation on disk before the command returns."""
    return click.option(
        "--until",
        type=click.Choice(["local", "quorum", "all"]),
        callback=lambda _context, _option, value: value or "",
        show_default="quorum if there are other machines",
        help="Wait until this machine, a majority, or all machines have it on disk.",
    )(function)


def machine_options(function: Function) -> Function:
    """Add --local and --machine; the command gets `machine`, empty for all machines."""

    @click.option("--local", "is_local", is_flag=True, help="Ask this machine only.")
    @click.option(
        "--machine", metavar="NAME", default="", help="Ask this machine only, by its name."
    )
    @wraps(function)
    def command(*, is_local: bool, machine: str, **given: Any) -> Any:  # noqa: ANN401 - as click
        if is_local and machine:
            raise click.UsageError("--local and --machine name one machine each; use one of them")
        if len(machine) > limits.claim_chars_max:
            raise click.UsageError(f"--machine: at most {limits.claim_chars_max} characters")
        return function(machine=THIS_MACHINE if is_local else machine, **given)

    return command  # type: ignore[return-value] # click calls it with other arguments


def config_option(function: Function, *, required: bool = True) -> Function:
    """Add -c FILE, the configuration; the command gets it as `config_path`."""
    return click.option(
        "-c",
        "--config",
        "config_path",
        metavar="FILE",
        required=required,
        type=click.Path(dir_okay=False, path_type=Path),
        help="Configuration file.",
    )(function)


def config_above(context: click.Context, path: Path | None) -> Path:
    """Return the path of -c, which may also stand before the name of a subcommand.

    Raises:
        click.UsageError: It stands nowhere.
    """
    if path is None and context.parent is not None:
        path = context.parent.params.get("config_path")
    if path is None:
        raise click.UsageError("Missing option '-c' / '--config'")
    return path


def log_options(function: Function) -> Function:
    """Add --log-format and --log-level; the command gets them as texts.

    Without an option, an environment variable decides, also for `crewgate run` and containers.
    """
    level = click.option(
        "--log-level",
        type=click.Choice([each.value for each in LogLevel]),
        default=LogLevel.INFO.value,
        show_default=True,
        envvar=LEVEL_VARIABLE,
        show_envvar=True,
        help="Lowest level of the lines in the log.",
    )
    form = click.option(
        "--log-format",
        type=click.Choice([each.value for each in LogFormat]),
        default=LogFormat.HUMAN.value,
        show_default=True,
        envvar=FORMAT_VARIABLE,
        show_envvar=True,
        help="Format of the log: lines for a person, or a JSON object on each line.",
    )
    return form(level(function))


def json_option(function: Function) -> Function:
    """Add --json; the command gets it as `as_json`, and prints one JSON document."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document on standard output."
    )(function)


def print_result(document: object, text: str, *, as_json: bool, err: bool = False) -> None:
    """Print a JSON document on standard output, or a text there or on standard error."""
    click.echo(json.dumps(document) if as_json else text, err=err and not as_json)


def with_program_name(text: str) -> str:
    """Return `text` with the program's name before each line: each line is a problem of its own."""
    return "\n".join(f"crewgate: {line}" for line in text.splitlines())


def print_problems(text: str) -> None:
    """Print on standard error what went wrong: the program's name, and a problem, on each line."""
    print_wrapped(with_program_name(text), err=True)


def state_of(config_path: Path, on_mistake: Callable[[str], None] = print_problems) -> Path:
    """Return the state folder of a configuration, in which its agent listens.

    A mistake in the file is only a warning, which `on_mistake` gets: the running gateway uses the
    last valid configuration, and a person who edits the file must be able to revoke a branch.
    Raises ConfigurationError if the file cannot be read, because its path may be mistyped, or if
    the file has a mistake and the folder does not exist.
    """
    from crewgate.config import load
    from crewgate.errors import ConfigurationError

    try:
        return load(config_path).state
    except ConfigurationError as error:
        state = None
        with suppress(OSError):
            state = config_path.parent / _named_state(config_path)
        if state is None or not state.is_dir():
            raise
        note = f"the configuration has mistakes; asking the running gateway in {state} all the same"
        on_mistake(f"{error}\n{note}")
        return state


def _named_state(config_path: Path) -> str:
    """Return the state folder that a file names, even if the rest is wrong. Raises OSError."""
    try:
        state = tomllib.loads(config_path.read_text(encoding="utf-8")).get("state")
    except ValueError:
        state = None
    return state if isinstance(state, str) else "state"
