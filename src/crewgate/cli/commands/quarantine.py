"""`crewgate quarantine`: stops an orchestrator from starting branches, or lifts that."""

from pathlib import Path

import click
import msgspec

from crewgate import limits
from crewgate.cli.options import (
    CREW_NAME,
    ParsedIntParamType,
    config_option,
    json_option,
    parse_duration,
    print_result,
    state_of,
)
from crewgate.cli.output.revocation import NEVER_SEEN
from crewgate.ipc import receipt_text
from crewgate.ipc.admin_client import AdminClient


def _quarantine_seconds(text: str) -> int:
    seconds, lower = parse_duration(text), limits.quarantine_seconds_min
    if not lower <= seconds <= limits.quarantine_seconds_max:
        days = limits.quarantine_seconds_max // 86_400
        raise ValueError(f"{text!r}: expected a duration from {lower}s to {days}d")
    return seconds


@click.command("quarantine")
@config_option
@click.argument("orchestrator", metavar="CREW/NAME")
@click.option(
    "--lift", is_flag=True, help="End the quarantine; the watch learns again what is usual."
)
@click.option(
    "--for",
    "seconds",
    metavar="DURATION",
    type=ParsedIntParamType("duration", _quarantine_seconds),
    show_default="the crew's quarantine_seconds, else 1d",
    help="Length, such as 90m or 7d. If a quarantine is set already, this moves its end.",
)
@click.option(
    "--crew", type=CREW_NAME, metavar="CREW", help="Crew, if the name does not begin with it."
)
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
    """Stop an orchestrator from starting branches, or let it start them again.

    The command acts on all machines. CREW/NAME is the orchestrator as `crewgate tree` shows it;
    'CREW/*' stands for all names that were never seen before. Live branches continue, and their
    tokens can be refreshed. A restart does not end a quarantine. Exit status 4: the quarantine is
    set, but no machine that answered has ever seen the name; it may be mistyped.
    """
    if crew is None:
        crew, slash, name = orchestrator.partition("/")
        if not (slash and crew and name):
            raise click.UsageError(
                f"{orchestrator!r}: expected CREW/NAME, such as article/article-1"
            )
    if lift and seconds is not None:
        raise click.UsageError(
            "--for begins a quarantine, and --lift ends one: give only one of them"
        )
    with AdminClient(state_of(config_path)) as admin:
        done = admin.quarantine(crew, orchestrator, lift=lift, seconds=seconds or 0)
    document: dict[str, object] = msgspec.to_builtins(done.row)
    document |= {"never_seen": done.never_seen, "never_seen_on": done.never_seen_on}
    text = "\n".join(receipt_text.of_quarantine(orchestrator, done, lift=lift))
    print_result(document, text, as_json=as_json)
    if done.never_seen:
        click.get_current_context().exit(NEVER_SEEN)
