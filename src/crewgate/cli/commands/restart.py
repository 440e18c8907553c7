"""`crewgate restart`: replaces the processes of a running gateway without an interruption."""

import signal
import time
from pathlib import Path

import click

from crewgate.cli.options import config_option, state_of
from crewgate.core.health import HealthState
from crewgate.errors import CAError, ServiceConnectionError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.sockets import ProcessCredentials
from crewgate.lifecycle.processes import RunProcess, parent_of, send, user_of

_POLL_SECONDS = 0.05


@click.command("restart")
@config_option
@click.option(
    "--wait",
    "wait_seconds",
    metavar="SECONDS",
    type=click.FloatRange(min=0, max=3600),
    default=60.0,
    show_default=True,
    help="Wait this long for the new processes.",
)
@click.pass_context
def command(ctx: click.Context, *, config_path: Path, wait_seconds: float) -> None:
    """Replace the processes of a running gateway without an interruption.

    Use it after an upgrade. The new agent process uses the same table. The new workers accept from
    the same sockets before the old workers close connections. An old worker closes each connection
    after the next answer on it. SIGUSR2 to `crewgate serve` does the same.

    Exit status 0: the new processes serve. Exit status 1: the old processes continue, or the
    restart has not ended in time.
    """
    state = state_of(config_path)
    with AdminClient(state) as admin:
        before = admin.agent
        _signal(_serve_of(before))
    began, wall = time.monotonic(), time.time()
    while time.monotonic() - began < wait_seconds:
        time.sleep(_POLL_SECONDS)
        try:
            with AdminClient(state) as admin:
                found, agent = admin.status(), admin.agent
        except ServiceConnectionError:
            # No agent answers while one hands over to the next.
            continue
        restart = next((each for each in found.health if each.component == "restart"), None)
        if restart is None or restart.passing:
            continue
        if restart.state is HealthState.OK and agent.pid != before.pid:
            click.echo(f"restarted in {time.monotonic() - began:.1f} s")
            ctx.exit(0)
        if restart.state is not HealthState.OK and restart.since >= wall:
            click.echo("not restarted: the log of `crewgate serve` has the reason")
            ctx.exit(1)
    click.echo(
        f"not restarted within {wait_seconds:g} s: the restart may still be under way; "
        "`crewgate status` shows how it ends"
    )
    ctx.exit(1)


def _serve_of(agent: ProcessCredentials) -> RunProcess:
    """Return the `crewgate serve` that started the agent as the same user; else ClickException.

    Another process could answer at the admin socket. The checks let the signal reach only a
    `crewgate serve` that started whatever answers there.
    """
    serve = parent_of(agent.pid)
    if serve is None:
        raise click.ClickException(
            f"the agent (process {agent.pid}) has ended, or is not visible here: end `crewgate "
            "serve` and start it again"
        )
    try:
        command = Path(f"/proc/{serve.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        command = []
    if serve.pid <= 1 or b"serve" not in command or user_of(serve) != agent.uid:
        raise click.ClickException(
            f"the agent (process {agent.pid}) was not started by `crewgate serve` of its own user: "
            "end the process that started it, and start it again"
        )
    return serve


def _signal(serve: RunProcess) -> None:
    """Send SIGUSR2 to exactly this process, not to a later one of its pid; else ClickException."""
    try:
        is_there = send(serve, signal.SIGUSR2)
    except CAError as error:
        raise click.ClickException(
            f"`crewgate serve` (process {serve.pid}) is another user's: run this as that user"
        ) from error
    if not is_there:
        raise click.ClickException(f"`crewgate serve` (process {serve.pid}) has just ended")
