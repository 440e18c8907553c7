"""`crewgate check`: finds what is wrong with a configuration before a gateway runs it.

A problem keeps `serve` or a mint from working. A warning is a risk, or hardly intended. A hint is a
setting that careful operators choose.
"""

import json
from pathlib import Path

import click

from crewgate.cli.options import config_option, json_option
from crewgate.cli.output.line_wrapping import print_wrapped
from crewgate.config import load


@click.command("check")
@config_option
@json_option
@click.pass_context
def command(ctx: click.Context, *, config_path: Path, as_json: bool) -> None:
    """Check a configuration and every file that it names.

    Exit status 0: a gateway can run it, perhaps with warnings. Exit status 2: `crewgate serve` does
    not start with it, or does not get ready.
    """
    from crewgate.cli.check.avoidable_ceilings import avoidable_ceilings
    from crewgate.cli.check.call_limits import limit_warnings
    from crewgate.cli.check.crews_sharing_upstreams import shared_connections
    from crewgate.cli.check.error_and_warning_checks import find_errors, find_warnings
    from crewgate.cli.check.observed_overruns import overrun_warnings
    from crewgate.cli.check.permissions import permission_warnings
    from crewgate.cli.check.rules import missing_rules, rule_warnings
    from crewgate.cli.check.unbound_crews import unbound_crews

    config = load(config_path)
    problems = list(find_errors(config))
    warnings = [
        *permission_warnings(config),
        *find_warnings(config),
        *limit_warnings(config),
        *rule_warnings(config),
        *overrun_warnings(config),
    ]
    hints = [
        *shared_connections(config),
        *unbound_crews(config),
        *missing_rules(config),
        *avoidable_ceilings(config),
    ]
    found = {"problems": problems, "warnings": warnings, "hints": hints}
    lines = [f"{kind[:-1]}: {text}" for kind, texts in found.items() for text in texts]
    if not problems:
        lines.append(f"{config_path}: valid" + ("; see the warnings above" if warnings else ""))
    if as_json:
        click.echo(json.dumps({"config": str(config.path), **found}))
    else:
        print_wrapped("\n".join(lines))
    if problems:
        ctx.exit(2)
