"""`crewgate restart`: new processes in the place of those that serve, without a break."""

import os
import signal
import time
from pathlib import Path

import click

from crewgate.cli.options import config_option, state_of

_LOOK_SECONDS = 0.05


@click.command("restart")
@config_option
@click.option(
    "--wait",
    "wait_seconds",
    metavar="SECONDS",
    type=click.FloatRange(min=0, max=3600),
    default=60.0,
    show_default=True,
    help="Wait so long for the new processes.",
)
@click.pass_context
def command(ctx: click.Context, *, config_path: Path, wait_seconds: float) -> None:
    """Replace the processes of a running gateway without a break.

    As for a new version. The new agent goes on with the same table, and the new workers accept from
    the same sockets before those there were send their clients away, each with its next answer.
    SIGUSR2 to `crewgate serve` does the same.

    Exit status 0 once the new processes serve, 1 if they do not in time: then those there were go
    on.
    """
    from crewgate.core.health import State
    from crewgate.errors import LinkError
    from crewgate.link.owner import Owner

    state = state_of(config_path)
    with Owner(state) as owner:
        before = owner.status()
    serve = _parent_of(before.pid)
    try:
        os.kill(serve, signal.SIGUSR2)
    except PermissionError as error:
        raise click.ClickException(
            f"process {serve} is another user's: restart it as that user"
        ) from error
    began, wall = time.monotonic(), time.time()
    while time.monotonic() - began < wait_seconds:
        time.sleep(_LOOK_SECONDS)
        try:
            with Owner(state) as owner:
                found = owner.status()
        except LinkError:
            continue  # one agent hands over to the next
        restart = next((each for each in found.health if each.component == "restart"), None)
        if restart is None or restart.passing:
            continue
        if restart.state is State.OK and found.pid != before.pid:
            click.echo(f"restarted in {time.monotonic() - began:.1f} s")
            ctx.exit(0)
        if restart.state is not State.OK and restart.since >= wall:
            break
    click.echo("not restarted: the log of `crewgate serve` has the reason")
    ctx.exit(1)


def _parent_of(agent: int) -> int:
    """The `serve` whose agent it is; ClickException if it has none."""
    try:
        text = Path(f"/proc/{agent}/stat").read_text()
    except OSError as error:
        raise click.ClickException(f"the agent (process {agent}) has ended") from error
    parent = int(text.rpartition(")")[2].split()[1])
    command = Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0")
    if parent <= 1 or b"serve" not in command:
        raise click.ClickException(
            f"the agent (process {agent}) was not started by `crewgate serve`: restart it by hand"
        )
    return parent
