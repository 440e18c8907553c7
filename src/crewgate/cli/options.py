"""Options that several commands share, and the sorts of values that people type."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from crewgate.core.credits import parse_credits

Function = TypeVar("Function", bound=Callable[..., Any])

_DURATION = re.compile(r"([0-9]{1,7})(s|m|h|d)?", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Credits(click.ParamType[int]):
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


class Duration(click.ParamType[int]):
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
