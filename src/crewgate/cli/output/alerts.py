"""The output about alerts: for each what happened, what to do, and which receivers have it."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import msgspec

from crewgate.alerts.outbox import DELIVERED, ListedAlert
from crewgate.cli.output.health import wrapped
from crewgate.core.terminal_text import printable


def document(row: ListedAlert) -> dict[str, Any]:
    """Return a row for a program."""
    since = f"{datetime.fromtimestamp(row.since, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return {
        "receiver": row.receiver,
        "delivery": row.state,
        "since": since,
        "attempts": row.attempts,
        "why": row.why,
        "alert": msgspec.json.decode(row.alert.document()),
    }


def lines(rows: Iterable[ListedAlert]) -> Iterator[str]:
    """Yield lines of 80 columns; the receivers of one alert stand together."""
    for _, group in groupby(rows, key=lambda row: row.alert.id):
        first, *others = group
        alert = first.alert
        yield f"{alert.timestamp:%Y-%m-%d %H:%M:%S}Z  {alert.severity.value}"
        yield from wrapped(printable(alert.text))
        if alert.next:
            yield from wrapped(printable(f"Next: {alert.next}"))
        for row in sorted((first, *others), key=lambda each: each.receiver):
            yield from wrapped(printable(_delivery(row)))


def _delivery(row: ListedAlert) -> str:
    attempts = f", {row.attempts} attempts" if row.attempts > 1 else ""
    why = f": {row.why}" if row.why and row.state != DELIVERED else ""
    return f"{row.receiver}: {row.state}{attempts}{why}"
