"""`crewgate serve`: runs the gateway in the foreground, until SIGTERM or Ctrl-C."""

from pathlib import Path

import click

from crewgate.cli.options import config_option


@click.command("serve")
@config_option
@click.option(
    "--bootstrap",
    is_flag=True,
    help="Start as the first machine of the cluster, without asking peers. Use it once.",
)
@click.pass_context
def command(ctx: click.Context, *, config_path: Path, bootstrap: bool) -> None:
    """Run the gateway (the agent and its workers) in the foreground.

    On SIGTERM or Ctrl-C, calls in flight get four fifths of drain_seconds. Then the gateway ends
    with exit status 0. On SIGHUP it reads the configuration again. On SIGUSR2 it replaces its
    processes.
    """
    from crewgate.supervisor.serve import serve

    ctx.exit(serve(config_path, bootstrap=bootstrap))
