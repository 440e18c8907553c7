"""`crewgate run`: runs an orchestrator with a socket to the gateway, but without a private key."""

from pathlib import Path
from typing import Any

import click

from crewgate.cli.options import CREW_NAME, config_option, life_option, log_options
from crewgate.runtime.log_format import LogFormat, LogLevel, LogSettings


@click.command("run", context_settings={"ignore_unknown_options": False})
@config_option
@click.option(
    "--crew", type=CREW_NAME, metavar="CREW", required=True, help="Crew of the orchestrator."
)
@click.option(
    "--name", metavar="NAME", required=True, help="Name of the orchestrator within its crew."
)
@click.option(
    "--user", metavar="USER", help="User that CMD runs as (default for root: a user id of its own)."
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Path of the local unix socket (default: in a new folder).",
)
@click.option(
    "--gateway",
    metavar="HOST:PORT",
    help="Gateway to use (default: the listener that asks for certificates).",
)
@click.option(
    "--trust",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="PEM",
    help="CA file that signed the gateway's certificate (default: the configured CA).",
)
@life_option("Lifetime of each certificate (default: [ca] life_seconds).")
@log_options
@click.argument("command_line", metavar="-- CMD …", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    config_path: Path,
    command_line: tuple[str, ...],
    life: int | None,
    log_format: str,
    log_level: str,
    **options: Any,  # noqa: ANN401 - the other members of `RunOptions`
) -> None:
    """Run an orchestrator that uses a certificate and never holds its key.

    CMD speaks plain HTTP/1.1 or HTTP/2 to the unix socket CREWGATE_SOCKET. `crewgate run` carries
    its requests over mutual TLS to the gateway, whose URL is CREWGATE_GATEWAY. When CMD ends, in
    whatever way, its certificates, its tokens and its own signing key are revoked.
    """
    from crewgate.sidecar.run import RunOptions, run

    log = LogSettings(LogFormat(log_format), LogLevel(log_level))
    chosen = RunOptions(
        config=config_path, command=command_line, life_seconds=life, log=log, **options
    )
    ctx.exit(run(chosen))
