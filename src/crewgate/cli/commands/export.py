"""`crewgate export`: sends the audit to the receivers of [export.NAME], in the foreground."""

from pathlib import Path

import click

from crewgate.cli.options import config_option, log_options
from crewgate.runtime.log_format import LogFormat, LogLevel, LogSettings


@click.command("export")
@config_option
@log_options
@click.pass_context
def command(ctx: click.Context, *, config_path: Path, log_format: str, log_level: str) -> None:
    """Send the audit to a collector, a syslog server, a SIEM or an archive.

    The command runs in the foreground until SIGTERM or Ctrl-C, and sends to the receivers of
    [export.NAME]. `crewgate serve` starts such a process by itself, and only one can run. So use
    the command for the audit of a gateway that does not run. It continues where the last process
    ended.

    Exit status 0: a signal ended it. Exit status 2: it cannot start; a line on standard error says
    why.
    """
    from crewgate.export.main import main

    LogSettings(LogFormat(log_format), LogLevel(log_level)).export()
    ctx.exit(main(["-c", str(config_path)]))
