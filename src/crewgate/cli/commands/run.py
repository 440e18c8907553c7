"""`crewgate run`: an orchestrator's process, with a door to the gateway and no key."""

from pathlib import Path

import click

from crewgate.cli.options import DurationParam, config_option


@click.command("run", context_settings={"ignore_unknown_options": False})
@config_option
@click.option("--crew", metavar="CREW", required=True, help="Whose orchestrator it is.")
@click.option("--name", metavar="NAME", required=True, help="Of the orchestrator, in its crew.")
@click.option("--user", metavar="USER", help="Whose process CMD is. Default as root: its own.")
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The local door. Default: in a new folder.",
)
@click.option("--gateway", metavar="HOST:PORT", help="Default: the listener that asks for it.")
@click.option(
    "--trust",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="PEM",
    help="Whom the gateway's certificate is from. Default: the CA.",
)
@click.option("--life", type=DurationParam(), metavar="4h", help="Of a certificate.")
@click.argument("command_line", metavar="-- CMD …", nargs=-1, required=True)
@click.pass_context
def command(
    ctx: click.Context,
    *,
    config_path: Path,
    crew: str,
    name: str,
    user: str | None,
    socket: Path | None,
    gateway: str | None,
    trust: Path | None,
    life: int | None,
    command_line: tuple[str, ...],
) -> None:
    """Run an orchestrator with a certificate that it uses and never holds.

    CMD speaks plain HTTP/1.1 or HTTP/2 at the unix socket CREWGATE_SOCKET, and comes out at the
    gateway CREWGATE_GATEWAY over mutual TLS. When it ends, however it ends, its certificates, its
    tokens and its own signing key are revoked.
    """
    from crewgate.sidecar.run import RunOptions, run

    ctx.exit(
        run(RunOptions(config_path, crew, name, command_line, user, socket, gateway, trust, life))
    )
