"""`crewgate ui`: runs the live page in the foreground, and prints the link that opens it."""

from pathlib import Path

import click

from crewgate.cli.options import config_option, log_options
from crewgate.runtime.log_format import LogFormat, LogLevel, LogSettings
from crewgate.runtime.process_log import ProcessLog


@click.command("ui")
@config_option
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=0,
    show_default="a free one",
    help="Serve the page at this port of 127.0.0.1.",
)
@log_options
def command(*, config_path: Path, port: int, log_format: str, log_level: str) -> None:
    """Run the live page in the foreground, and print the link that opens it.

    The link is good once, for ten minutes; press Enter for another one. A person who opens it has
    all rights on the page, as this user of the machine has. The sessions end with the command.
    `crewgate serve` must run; it serves another page, for people who log in, if the configuration
    has [ui].

    Exit status 0: a signal ended it. Exit status 2: it cannot start; a line on standard error says
    why.
    """
    from crewgate.cli.live_page import run

    with ProcessLog("ui", settings=LogSettings(LogFormat(log_format), LogLevel(log_level))):
        run(config_path, port)
