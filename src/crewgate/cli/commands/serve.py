"""`crewgate serve`: runs the gateway in the foreground, until SIGTERM or Ctrl-C."""

from pathlib import Path

import click

from crewgate.cli.options import config_option, log_options
from crewgate.runtime.log_format import LogFormat, LogLevel, LogSettings


@click.command("serve")
@config_option
@click.option(
    "--bootstrap",
    is_flag=True,
    help="Start as the first machine of the cluster, without asking peers. Use it once.",
)
@log_options
@click.pass_context
def command(
    ctx: click.Context, *, config_path: Path, bootstrap: bool, log_format: str, log_level: str
) -> None:
    """Run the gateway (the agent process and its workers) in the foreground.

    On SIGTERM or Ctrl-C, calls in flight get four fifths of drain_seconds. On SIGHUP, the gateway
    reads the configuration again. On SIGUSR2, it replaces its processes.

    Exit status 0: a signal ended it. Exit status 1: the agent process crashed before the gateway
    was ready. Exit status 2: the gateway cannot start; a line on standard error says why. Without a
    file that only the workers need, such as a certificate, it runs, but is not ready: see
    `crewgate status`.
    """
    # Else each worker fails on its own import, again and again.
    import crewgate.runtime.http2_self_test  # noqa: F401 - the import runs the test
    from crewgate.supervisor.serve import serve

    log = LogSettings(LogFormat(log_format), LogLevel(log_level))
    ctx.exit(serve(config_path, log, bootstrap=bootstrap))
