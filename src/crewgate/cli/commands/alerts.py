"""`crewgate alerts`: tests the receivers of [alert.NAME], lists alerts, and sends them again."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import trio

from crewgate import limits
from crewgate.alerts.alert import TEST, Alert, AlertState, alert_id, linked
from crewgate.alerts.local_machine import local_machine
from crewgate.alerts.main import channel
from crewgate.alerts.outbox import AlertOutbox
from crewgate.cli.options import (
    ConfigNameParamType,
    UntruncatedHelpGroup,
    config_option,
    json_option,
    print_result,
)
from crewgate.cli.output import alerts
from crewgate.config import AlertConfig, Config, load
from crewgate.core.alert_kinds import AlertSeverity
from crewgate.core.terminal_text import printable
from crewgate.errors import ConfigurationError, ReceiverError

_RECEIVER = ConfigNameParamType("alert")
_STATES = ["waiting", "delivered", "elsewhere", "refused", "expired"]


@click.group("alerts", cls=UntruncatedHelpGroup)
def command() -> None:
    """Test the receivers of alerts, list the alerts, and send them again.

    The configuration names the receivers in tables [alert.NAME]. The commands act on this machine.
    """


@command.command("test")
@config_option
@click.argument("receiver", type=_RECEIVER, metavar="[RECEIVER]", required=False, default="")
@json_option
@click.pass_context
def test(ctx: click.Context, *, config_path: Path, receiver: str, as_json: bool) -> None:
    """Send a test alert to all receivers, or to one, and say what each has answered.

    The command sends the alert itself, so it also works if `crewgate serve` does not run. PagerDuty
    opens an incident for it.

    Exit status 0: each receiver has the alert. Exit status 1: a receiver has not taken it.
    """
    config, chosen = _chosen(config_path, receiver)
    results = trio.run(_test_all, config, chosen)
    lines = [
        f"{each['receiver']}: {'took the alert ' + each['id'] if each['taken'] else each['why']}"
        for each in results
    ]
    print_result({"receivers": results}, "\n".join(map(printable, lines)), as_json=as_json)
    if not all(each["taken"] for each in results):
        ctx.exit(1)


@command.command("list")
@config_option
@click.argument("receiver", type=_RECEIVER, metavar="[RECEIVER]", required=False, default="")
@click.option("--state", type=click.Choice(_STATES), help="Only alerts in this state.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=limits.alert_history_rows,
    show_default=True,
    help="Show so many at most, the newest ones; an alert counts once for each receiver.",
)
@json_option
def list_(
    *, config_path: Path, receiver: str, state: str | None, limit: int, as_json: bool
) -> None:
    """List the last alerts of this machine, and whether each receiver has them.

    An alert waits until its receiver takes it, for three days at most; then it has expired. A
    receiver that takes other alerts can refuse one. An alert is left if another machine of the
    cluster has told it. The list keeps an alert for a week after that.
    """
    config, _ = _chosen(config_path, receiver)
    rows = []
    # Only the user of the gateway may make the file, so that the alerts process can open it.
    if AlertOutbox.file(config.state).exists():
        with AlertOutbox(config.state) as outbox:
            rows = outbox.rows(receiver, state or "", limit)
    document = {"alerts": [alerts.document(row) for row in rows]}
    text = "\n".join(alerts.lines(reversed(rows)))
    print_result(document, text or "no alerts", as_json=as_json)


@command.command("retry")
@config_option
@click.argument("receiver", type=_RECEIVER, metavar="[RECEIVER]", required=False, default="")
@json_option
def retry(*, config_path: Path, receiver: str, as_json: bool) -> None:
    """Send at once what waits for all receivers, or for one.

    The alerts that a receiver has refused, or that have expired, are sent again too. `crewgate
    serve` must run: its alerts process sends them.
    """
    config, chosen = _chosen(config_path, receiver)
    if not AlertOutbox.file(config.state).exists():
        raise ConfigurationError(
            f"{config.state}: no alerts process has run here yet; start `crewgate serve`"
        )
    with AlertOutbox(config.state) as outbox:
        counts = {each.name: outbox.retry(each.name, time.time()) for each in chosen}
    lines = [
        f"{name}: {count} {'alert waits' if count == 1 else 'alerts wait'}"
        for name, count in counts.items()
    ]
    print_result({"waiting": counts}, "\n".join(lines), as_json=as_json)


def _chosen(path: Path, receiver: str) -> tuple[Config, Sequence[AlertConfig]]:
    """Return the configuration, and the receivers that a person means.

    Raises ConfigurationError if there are none.
    """
    config = load(path)
    if not config.alerts:
        raise ConfigurationError(
            f"{path}: there is no receiver; add a table [alert.NAME] with format, url and secret"
        )
    chosen = [each for each in config.alerts if receiver in {"", each.name}]
    if not chosen:
        known = ", ".join(each.name for each in config.alerts)
        raise ConfigurationError(f"{path}: no receiver [alert.{receiver}]; the file has: {known}")
    return config, chosen


async def _test_all(config: Config, chosen: Sequence[AlertConfig]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for receiver in chosen:
        results.append(await _test(config, receiver))  # noqa: PERF401 - one after the other
    return results


async def _test(config: Config, receiver: AlertConfig) -> dict[str, Any]:
    now, local = time.time(), local_machine(config)
    machine = local.name
    alert = Alert(
        id=alert_id(TEST, machine, receiver.name, now),
        type=TEST,
        timestamp=datetime.fromtimestamp(now, UTC),
        machine=machine,
        subject=f"machine/{machine}/test",
        state=AlertState.ONCE,
        severity=AlertSeverity.INFO,
        text=f"this is a test: machine {machine} can send alerts to {receiver.name}",
        data={"receiver": receiver.name},
    )
    found: dict[str, Any] = {"receiver": receiver.name, "id": alert.id, "taken": True, "why": ""}
    alert = linked(alert, local.page)
    way = channel(receiver)
    try:
        await way.send(alert)
    except ReceiverError as error:
        found |= {"taken": False, "why": f"{receiver.place} has not taken the alert: {error}"}
    finally:
        await way.close()
    return found
