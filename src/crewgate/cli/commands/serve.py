"""`crewgate serve`: the gateway in the foreground, until SIGTERM or Ctrl-C."""

from pathlib import Path

import click

from crewgate.cli.options import config_option


@click.command("serve")
@config_option
@click.option(
    "--bootstrap",
    is_flag=True,
    help="This is the first machine of all: there is nothing to learn from peers. Give it once.",
)
@click.pass_context
def command(ctx: click.Context, *, config_path: Path, bootstrap: bool) -> None:
    """Run the gateway: the agent and its workers, in the foreground.

    SIGTERM drains and ends it with status 0; SIGHUP reads the configuration again.
    """
    from crewgate.supervisor.serve import serve

    ctx.exit(serve(config_path, bootstrap=bootstrap))
