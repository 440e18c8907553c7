"""`crewgate quarantine`: no new grants of one orchestrator, until it is lifted or lapses."""

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from crewgate import limits
from crewgate.cli.options import DurationParam, config_option, json_option, state_of
from crewgate.cli.output.revocation import NEVER_SEEN, unseen


class _HowLong(DurationParam):
    """As long as a quarantine may be."""

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Seconds, or click's usage error."""
        seconds = super().convert(value, param, ctx)
        if not limits.quarantine_seconds_min <= seconds <= limits.quarantine_seconds_max:
            days = limits.quarantine_seconds_max // 86_400
            least = limits.quarantine_seconds_min
            self.fail(
                f"{value!r} is no time for it; write one from {least}s to {days}d", param, ctx
            )
        return seconds


@click.command("quarantine")
@config_option
@click.argument("orchestrator", metavar="CREW/NAME")
@click.option("--lift", is_flag=True, help="Let it go; what it does from now on counts as usual.")
@click.option(
    "--for",
    "seconds",
    metavar="DURATION",
    type=_HowLong(),
    show_default="as its crew's quarantine_seconds say, a day",
    help="Until it lapses, such as 90m or 7d; given again, the end moves.",
)
@click.option("--crew", metavar="CREW", help="Whose it is, if its name does not begin with that.")
@json_option
def command(
    *,
    config_path: Path,
    orchestrator: str,
    lift: bool,
    seconds: int | None,
    crew: str | None,
    as_json: bool,
) -> None:
    """Admit no new grants of an orchestrator, or let it go; on all machines.

    CREW/NAME is the client_id of its tokens; 'CREW/*' stands for names never seen before. Its live
    branches go on, and may be refreshed for what they have. A restart changes nothing. Exit status
    4: it is held, and no machine that answered has ever seen it, so its name may be mistyped.
    """
    import msgspec

    from crewgate.core.terminal_text import printable
    from crewgate.ipc.admin_client import AdminClient

    if crew is None:
        crew, slash, name = orchestrator.partition("/")
        if not (slash and crew and name):
            raise click.UsageError(f"{orchestrator!r} is no CREW/NAME, such as article/article-1")
    if lift and seconds is not None:
        raise click.UsageError("--for begins a quarantine, and --lift ends it: give one of them")
    with AdminClient(state_of(config_path)) as owner:
        done = owner.quarantine(crew, orchestrator, lift=lift, seconds=seconds or 0)
    row = done.row
    if as_json:
        unknown = {"never_seen": done.never_seen, "never_seen_on": done.never_seen_on}
        click.echo(json.dumps(msgspec.to_builtins(row) | unknown))
    elif lift:
        click.echo(f"{printable(orchestrator)}: its grants are admitted again")
    else:
        end = datetime.fromtimestamp(row.until, UTC)
        click.echo(
            f"{printable(orchestrator)}: no new grants are admitted until {end:%Y-%m-%d %H:%M}Z; "
            "live branches go on"
        )
    for line in () if as_json else unseen(done.never_seen, done.never_seen_on, done.machines):
        click.echo(line)
    if done.never_seen:
        click.get_current_context().exit(NEVER_SEEN)
