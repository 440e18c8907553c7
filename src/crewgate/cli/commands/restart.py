"""`crewgate restart`: new processes in the place of those that serve, without a break."""

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewgate.cli.options import config_option, state_of

if TYPE_CHECKING:
    from crewgate.ipc.sockets import ProcessCredentials
    from crewgate.lifecycle.processes import RunProcess

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
    from crewgate.core.health import HealthState
    from crewgate.errors import LinkError
    from crewgate.ipc.admin_client import AdminClient

    state = state_of(config_path)
    with AdminClient(state) as owner:
        before = owner.agent
        _signal(_serve_of(before))
    began, wall = time.monotonic(), time.time()
    while time.monotonic() - began < wait_seconds:
        time.sleep(_LOOK_SECONDS)
        try:
            with AdminClient(state) as owner:
                found, agent = owner.status(), owner.agent
        except LinkError:
            continue  # one agent hands over to the next
        restart = next((each for each in found.health if each.component == "restart"), None)
        if restart is None or restart.passing:
            continue
        if restart.state is HealthState.OK and agent.pid != before.pid:
            click.echo(f"restarted in {time.monotonic() - began:.1f} s")
            ctx.exit(0)
        if restart.state is not HealthState.OK and restart.since >= wall:
            break
    click.echo("not restarted: the log of `crewgate serve` has the reason")
    ctx.exit(1)


def _serve_of(agent: "ProcessCredentials") -> "RunProcess":
    """The `serve` that started the agent, as the same user; ClickException if there is none.

    Another process could answer at the agent's door. Then only the process that started that one
    could be signalled.
    """
    from crewgate.lifecycle.processes import parent_of, user_of

    serve = parent_of(agent.pid)
    if serve is None:
        raise click.ClickException(
            f"the agent (process {agent.pid}) has ended, or is not seen here: restart it by hand"
        )
    try:
        command = Path(f"/proc/{serve.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        command = []
    if serve.pid <= 1 or b"serve" not in command or user_of(serve) != agent.uid:
        raise click.ClickException(
            f"the agent (process {agent.pid}) was not started by `crewgate serve` of its own user: "
            "restart it by hand"
        )
    return serve


def _signal(serve: "RunProcess") -> None:
    """SIGUSR2 to that process, and to none that has its pid by now; ClickException."""
    from crewgate.errors import AuthorityError
    from crewgate.lifecycle.processes import send

    try:
        is_there = send(serve, signal.SIGUSR2)
    except AuthorityError as error:
        raise click.ClickException(
            f"process {serve.pid} is another user's: restart it as that user"
        ) from error
    if not is_there:
        raise click.ClickException(f"`crewgate serve` (process {serve.pid}) has just ended")
