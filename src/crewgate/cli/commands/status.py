"""`crewgate status`: shows whether a running or starting gateway is ready, and what is wrong."""

import json
import math
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from crewgate import limits
from crewgate.cli.control_process_probe import control_of, describe
from crewgate.cli.ledger_probe import ledger_of
from crewgate.cli.options import json_option, machine_options, print_problems, state_of
from crewgate.cli.output import health, machine_status
from crewgate.cli.output.cluster import sync_line
from crewgate.cli.output.line_wrapping import between_words, terminal_columns
from crewgate.cli.remote.option import with_remote
from crewgate.core.credits import format_credits
from crewgate.core.health import ComponentHealth, HealthCondition, HealthState, failed
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.cluster_messages import QuorumSyncState
from crewgate.ipc.cluster_view import SilentMachine
from crewgate.ipc.machine_messages import THIS_MACHINE
from crewgate.lifecycle.processes import is_alive, parent_of

_POLL_SECONDS = 0.05
# How long another `crewgate serve` may take to start after one has ended, for example by systemd.
_NEXT_SERVE_SECONDS = 5.0
_WORDS = {"observe": "observed", "throttle": "throttled", "quarantine": "quarantined"}


class _Seconds(click.FloatRange):
    # Click says: 'soon' is not a valid number of seconds.
    name = "number of seconds"


@click.command("status")
@machine_options
@with_remote("status")
@click.option(
    "--wait",
    "wait_seconds",
    metavar="SECONDS",
    type=_Seconds(min=0, max=86_400),
    default=0.0,
    help="Wait this long until the gateway is ready, even if it has not started yet. If `crewgate "
    f"serve` ends and no other starts within {_NEXT_SERVE_SECONDS:g} s, the wait is over. This "
    "shows this machine only.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context, *, config_path: Path, wait_seconds: float, machine: str, as_json: bool
) -> None:
    """Show whether this gateway and the others are ready, and what is wrong.

    The gateway is ready if the agent process and every worker answer. Each component is ok,
    degraded (calls continue, but somebody must act) or failed. For a component that is not ok, the
    command says since when, why, and how to mend it.

    Exit status 0: everything is ok. Exit status 1: the gateway is ready, but a component is
    degraded or failed, or another machine is not ok or does not answer. Exit status 2: the gateway
    of this machine is not ready. With --machine, the status is about that machine.
    """
    mistakes: list[str] = []
    state = state_of(config_path, mistakes.append)
    if machine not in {"", THIS_MACHINE}:
        if wait_seconds:
            raise click.UsageError("--wait waits for this machine; it does not go with --machine")
        _print_and_clear(mistakes)
        with AdminClient(state) as admin:
            asked = machine_status.documents(admin.cluster_status(machine))
        machine_status.show(asked, as_json=as_json)
    deadline = time.monotonic() + wait_seconds
    serve, ended = None, math.inf
    while True:
        found = _poll(state, config_path)
        if not found.get("configuration_error"):  # the agent has not seen the mistakes
            _print_and_clear(mistakes)
        now, answers = time.monotonic(), "pid" in found
        ended = math.inf if serve is None or answers or is_alive(serve) else min(ended, now)
        left = min(deadline, ended + _NEXT_SERVE_SECONDS) - now
        if _is_settled(found) or left <= 0:
            break
        serve = parent_of(found["pid"]) if answers else serve
        time.sleep(min(left, _POLL_SECONDS))
    if "pid" not in found:
        # An agent that waits for its ledger does not answer yet.
        found = _with(found, ledger_of(config_path))
    is_whole = found.get("in_touch") is not None and not machine and not wait_seconds
    others = _others(state) if is_whole else machine_status.MachineDocuments([], [])
    if as_json:
        click.echo(json.dumps(found | (others.for_json if is_whole else {})))
    else:
        click.echo("\n".join([_explained(found), *machine_status.lines(others)]))
    ctx.exit(max(health.EXIT_STATUS[found["state"]], min(1, others.exit_status)))


def _print_and_clear(mistakes: list[str]) -> None:
    for text in mistakes:
        print_problems(text)
    mistakes.clear()


def _others(state: Path) -> machine_status.MachineDocuments:
    """Return the status of the other machines."""
    try:
        with AdminClient(state) as admin:
            found = admin.cluster_status()
    except ServiceConnectionError as error:
        every = SilentMachine("(each other one)", f"the agent of this machine failed: {error}")
        return machine_status.MachineDocuments([], [every])
    return machine_status.documents(found, without=found.asked)


def _is_settled(found: dict[str, Any]) -> bool:
    return found["ready"] and not any(each["passing"] for each in found["health"])


def _poll(state: Path, config_path: Path) -> dict[str, Any]:
    pid = 0
    try:
        with AdminClient(state) as admin:
            pid = admin.agent.pid
            document: dict[str, Any] = msgspec.to_builtins(admin.status())
    except ServiceConnectionError as error:
        is_forbidden = isinstance(error.__cause__, PermissionError)
        return _absent(str(error), pid, is_forbidden=is_forbidden)
    del document["type"], document["id"]
    document["control"] = control_of(config_path, state)
    return document


def _absent(why: str, pid: int = 0, *, is_forbidden: bool = False) -> dict[str, Any]:
    """Return the status of a machine whose agent does not answer; `pid` is its process, or 0."""
    mend = "start `crewgate serve`; if you have started it, its log says why the agent is missing"
    if is_forbidden:
        mend = "run this command as that user; until then, nothing is known about the gateway"
    if pid:
        mend = (
            f"if this lasts, kill process {pid} with SIGKILL: `crewgate serve` starts a new agent"
        )
    nothing = {"ready": False, "state": "failed", "waiting_for": [], "health": []}
    return _with(nothing, failed("agent", why, mend))


def _with(found: dict[str, Any], fact: ComponentHealth) -> dict[str, Any]:
    """Return `found` with one more health fact, unless that fact is ok."""
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
        *_overdraft(found),
        *_cluster(found),
        "table          branches and crews: {branches}, revocations: {revocations}".format(
            **counts
        ),
        f"calls          {counts['reservations']} in flight",
    ]
    lines += [_pinned(row) for row in found["pins"]]
    lines += [_coarsened(row) for row in found["coarsened"]]
    lines += [_watched(row) for row in found["watched"]]
    if found["watched_more"]:
        lines.append(f"watch          {found['watched_more']} more; see crewgate audit --watch")
    lines += _not_loaded(found["configuration_error"], troubles)
    return "\n".join(lines)


def _not_loaded(mistakes: str, troubles: list[dict[str, Any]]) -> list[str]:
    """Return the mistakes of the configuration that the lines about its health do not have."""
    is_first_known = any(each["component"] == "configuration" for each in troubles)
    lines = mistakes.splitlines()[is_first_known:]
    labeled = [f"{'' if number else 'not loaded':<15}{line}" for number, line in enumerate(lines)]
    return between_words(labeled, terminal_columns(), " " * 15)


def _coarsened(row: dict[str, Any]) -> str:
    """Return the line of a crew that has used up its share of the table of revocations."""
    times = "once" if row["count"] == 1 else f"{row['count']} times"
    return (
        f"revocations    crew {row['crew']} used up its share: all tokens were revoked {times}, "
        f"last at {datetime.fromtimestamp(row['at'], UTC):%Y-%m-%d %H:%M}Z"
    )


def _pinned(row: dict[str, Any]) -> str:
    """Return the line of an MCP endpoint whose tools are pinned."""
    counts = ", ".join(f"{row[state]} {state}" for state in ("pinned", "new", "changed"))
    return f"MCP tools      {row['endpoint']}: {counts}"


def _overdraft(found: dict[str, Any]) -> list[str]:
    """Return the line of the overdraft: credits drawn while the ledger was unavailable."""
    if not found["lent"]:
        return []
    max_micro = found["lent_max"]
    is_bounded = max_micro < limits.quota_micro_max
    bound = f"of {format_credits(max_micro)}" if is_bounded else "without a limit"
    amount = format_credits(found["lent"])
    return [f"overdraft      {amount} credits {bound}, charged when the ledger is available again"]


def _cluster(found: dict[str, Any]) -> list[str]:
    if found["in_touch"] is None:
        return []
    return [f"cluster        {sync_line(QuorumSyncState(**found['in_touch']))}"]


def _watched(row: dict[str, Any]) -> str:
    """Return the line of an orchestrator that the minting watch, or a person, has restricted."""
    text = _WORDS[row["in_force"]]
    if row["in_force"] != row["level"]:
        text += f", would be {_WORDS[row['level']]}"
    if row["until"]:
        text += f" until {datetime.fromtimestamp(row['until'], UTC):%Y-%m-%d %H:%M}Z"
    by = "a person" if row["by"] == "owner" else "the watch"
    return f"watch          {row['orchestrator']} {text} (by {by})"
