"""`crewgate check`: everything that can be said of a configuration before it is served.

Problems are what `serve` would refuse; warnings are what an attacker or a full moon would use;
hints are what careful people set, although all is well without it.
"""

import json
from pathlib import Path

import click

from crewgate.cli.options import config_option, json_option


def _print_schema(ctx: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    from crewgate.config.reference import json_schema

    if value and not ctx.resilient_parsing:
        click.echo(json.dumps(json_schema(), indent=2))
        ctx.exit()


@click.command("check")
@config_option
@json_option
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print a JSON schema of the file, for editors, and exit.",
)
@click.pass_context
def command(ctx: click.Context, *, config_path: Path, as_json: bool) -> None:
    """Say what is wrong with a configuration and the files that it names.

    Exit status 0 if it can be served, with warnings or without; 2 if not.
    """
    from crewgate.cli.check.config import find_errors, find_warnings
    from crewgate.cli.check.overruns import unbounded
    from crewgate.cli.check.permissions import permission_warnings
    from crewgate.cli.check.shared_connections import shared_connections
    from crewgate.config import load

    config = load(config_path)
    wrong = list(find_errors(config))
    warnings = [*permission_warnings(config), *find_warnings(config), *unbounded(config)]
    hints = list(shared_connections(config))
    if as_json:
        document = {
            "config": str(config.path),
            "problems": wrong,
            "warnings": warnings,
            "hints": hints,
        }
        click.echo(json.dumps(document))
    else:
        for text in wrong:
            click.echo(f"problem: {text}")
        for text in warnings:
            click.echo(f"warning: {text}")
        for text in hints:
            click.echo(f"hint: {text}")
        if not wrong:
            click.echo(f"{config_path}: can be served" + (", but see above" if warnings else ""))
    if wrong:
        ctx.exit(2)
