"""`crewgate status`: ready or not, and why; also for a `serve` that is just starting."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crewgate import limits
from crewgate.cli.control_status import control_of, describe
from crewgate.cli.ledger_status import ledger_of
from crewgate.cli.options import json_option, state_of
from crewgate.cli.output import health
from crewgate.cli.output.cluster import touch_line
from crewgate.cli.remote.option import with_remote
from crewgate.core.credits import format_credits

if TYPE_CHECKING:
    from crewgate.core.health import HealthFact

_LOOK_SECONDS = 0.05
_WORDS = {"observe": "observed", "throttle": "throttled", "quarantine": "quarantined"}


class _Seconds(click.FloatRange):
    name = "number of seconds"  # of which click says that 'soon' is none


@click.command("status")
@with_remote("status")
@click.option(
    "--wait",
    "wait_seconds",
    metavar="SECONDS",
    type=_Seconds(min=0, max=86_400),
    default=0.0,
    help="Wait so long for it to be ready, also for a `serve` that has not opened its doors yet.",
)
@json_option
@click.pass_context
def command(ctx: click.Context, *, config_path: Path, wait_seconds: float, as_json: bool) -> None:
    """Say whether the gateway is ready.

    Ready means: the agent and every worker answer calls. Each component is ok, degraded (calls go
    on, and somebody must act) or failed; of what is not ok it says since when, why, and how to mend
    it.

    Exit status: 0 if all is well, 1 if the gateway is ready and some component is degraded or
    failed, 2 if it is not ready.
    """
    state = state_of(config_path)
    deadline = time.monotonic() + wait_seconds
    while True:
        found = _poll(state, config_path)
        left = deadline - time.monotonic()
        if _is_settled(found) or left <= 0:
            break
        time.sleep(min(left, _LOOK_SECONDS))
    if "pid" not in found:  # an agent that waits for its ledger cannot say so
        found = _with(found, ledger_of(config_path))
    click.echo(json.dumps(found) if as_json else _explained(found))
    ctx.exit(health.EXIT_STATUS[found["state"]])


def _is_settled(found: dict[str, Any]) -> bool:
    """Ready, and nothing is still starting."""
    return found["ready"] and not any(each["passing"] for each in found["health"])


def _poll(state: Path, config_path: Path) -> dict[str, Any]:
    import msgspec

    from crewgate.errors import LinkError
    from crewgate.ipc.admin_client import AdminClient

    pid = 0
    try:
        with AdminClient(state) as owner:
            pid = owner.agent.pid
            document: dict[str, Any] = msgspec.to_builtins(owner.status())
    except LinkError as error:
        return _absent(str(error), pid)
    del document["type"], document["id"]
    document["control"] = control_of(config_path, state)
    return document


def _absent(why: str, pid: int = 0) -> dict[str, Any]:
    """The status of a machine whose agent does not answer; `pid` if there is such a process."""
    from crewgate.core import health

    mend = "start `crewgate serve`; if it runs, its log says why there is no agent"
    if pid:
        mend = f"if it stays so, end process {pid} by SIGKILL: `crewgate serve` starts another"
    nothing = {"ready": False, "state": "failed", "waiting_for": [], "health": []}
    return _with(nothing, health.failed("agent", why, mend))


def _with(found: dict[str, Any], fact: "HealthFact") -> dict[str, Any]:
    """The status of such a machine, and what else is not well there."""
    import msgspec

    from crewgate.core.health import HealthCondition, HealthState

    if fact.state is HealthState.OK:
        return found
    condition = msgspec.to_builtins(HealthCondition(**msgspec.structs.asdict(fact)))
    return found | {
        "waiting_for": [*found["waiting_for"], f"{fact.component}: {fact.why}"],
        "health": [*found["health"], condition],
    }


def _explained(found: dict[str, Any]) -> str:
    troubles = [each for each in found["health"] if each["state"] != "ok"]
    headline = health.headline(found["state"], troubles)
    if "pid" not in found:
        return "\n".join([headline, *health.lines(troubles, troubles[0]["since"])])
    workers = found["workers"]
    accepting = sum(worker["accepting"] for worker in workers)
    counts = found["counts"]
    lines = [
        headline,
        *health.lines(troubles, time.time()),
        f"machine        {found['machine']}",
        f"agent          process {found['pid']}, table {found['life'][:8]}"
        + ("" if found["fresh"] else ", not fresh"),
        f"workers        {accepting} of {len(workers)} accept",
        f"control        {describe(found['control'])}",
        f"embedders      {found['embedders']}",
        f"configuration  generation {found['policy_generation']}",
        f"ledger         {found['ledger']}",
        *_lent(found),
        *_cluster(found),
        f"table          {counts['branches']} branches, {counts['revocations']} revocations",
        f"calls          {counts['reservations']} in flight",
    ]
    lines += [_coarsened(row) for row in found["coarsened"]]
    lines += [_watched(row) for row in found["watched"]]
    if found["watched_more"]:
        lines.append(f"watch          {found['watched_more']} more; see crewgate audit --watch")
    if found["configuration_error"]:
        lines.append(f"not loaded     {found['configuration_error']}")
    return "\n".join(lines)


def _coarsened(row: dict[str, Any]) -> str:
    """A crew whose share of the table of revocations is used up."""
    times = "once" if row["count"] == 1 else f"{row['count']} times"
    return (
        f"revocations    crew {row['crew']} is over its share: {times} all its tokens were ended, "
        f"last at {datetime.fromtimestamp(row['at'], UTC):%Y-%m-%d %H:%M}Z"
    )


def _lent(found: dict[str, Any]) -> list[str]:
    """What the machine has lent itself while its ledger was away."""
    if not found["lent"]:
        return []
    most = found["lent_max"]
    bound = "without a bound" if most >= limits.quota_micro_max else f"of {format_credits(most)}"
    amount = format_credits(found["lent"])
    return [f"lent           {amount} credits {bound}, charged when the ledger is back"]


def _cluster(found: dict[str, Any]) -> list[str]:
    """The other machines, if there may be any."""
    from crewgate.ipc.cluster_messages import SyncState

    if found["in_touch"] is None:
        return []
    return [f"cluster        {touch_line(SyncState(**found['in_touch']))}"]


def _watched(row: dict[str, Any]) -> str:
    """One orchestrator that the minting watch, or a person, does not leave alone."""
    so = _WORDS[row["in_force"]]
    if row["in_force"] != row["level"]:
        so += f", would be {_WORDS[row['level']]}"
    if row["until"]:
        so += f" until {datetime.fromtimestamp(row['until'], UTC):%Y-%m-%d %H:%M}Z"
    return f"watch          {row['orchestrator']} {so} (by {row['by']})"
