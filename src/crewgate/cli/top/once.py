"""What `crewgate top --once` prints: one JSON document, or the table that the screen would have."""

from collections.abc import Sequence
from typing import Any

from crewgate.cli.output.tree import document as tree_document
from crewgate.cli.top.reading import LiveRow, Node, Reading, UsageRow


def document(reading: Reading) -> dict[str, Any]:
    """Return the document of `crewgate tree --json`, with rates and with what calls have come to.

    Rates are about the last `seconds`; `calls_per_minute` is null where no rule counts calls.
    """
    found = tree_document(reading.found)
    for kind in ("crews", "branches"):
        for each in found[kind]:
            each.update(_rates(reading.rows[Node(each["crew"], each.get("branch", ""))]))
    return found | {
        "seconds": round(reading.seconds, 3),
        "tools": _usage(reading.tools),
        "calls_of_crews": [
            {name: value for name, value in each.items() if name != "tool"}
            for each in _usage(reading.crews)
        ],
    }


def _rates(live: LiveRow) -> dict[str, Any]:
    calls = round(live.rate.calls, 1) if live.counts_calls else None
    return {"spent_micro_per_minute": round(live.rate.spent), "calls_per_minute": calls}


def _usage(rows: Sequence[UsageRow]) -> list[dict[str, Any]]:
    return [
        {
            "crew": row.crew,
            "tool": row.tool,
            "calls": round(row.total.calls),
            "refused": round(row.total.refused),
            "spent_micro": round(row.total.spent),
            "calls_per_minute": round(row.rate.calls, 1),
            "refused_per_minute": round(row.rate.refused, 1),
            "spent_micro_per_minute": round(row.rate.spent),
        }
        for row in rows
    ]
