"""`crewgate ledger accept`: go on with a ledger that has forgotten something, on a person's word.

Changes nothing in the ledger itself, and needs no gateway: there must be none running.
"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewgate.cli.options import config_option, json_option

if TYPE_CHECKING:
    from crewgate.core.budget.ledger_mark import LedgerMark


@click.command("accept")
@config_option
@json_option
def command(*, config_path: Path, as_json: bool) -> None:
    """Go on with a ledger that is older, empty or another than this machine knows, on your word.

    A start on such a ledger is refused, because it does not know what was spent since: that much
    can be spent again, and of an empty ledger every budget from its beginning. What this machine
    had leased is burned. Branches that were ended stay so. `crewgate ledger reconcile` shows what
    the audit knows of calls that the ledger does not. End `crewgate serve` first; where several
    machines share the ledger, each of them is asked for your word.
    """
    from crewgate.agent.budget.ledger_mark import known_with_table
    from crewgate.agent.table_setup import holder_name
    from crewgate.config.load import load
    from crewgate.core.budget.ledger_mark import LedgerMark
    from crewgate.errors import LedgerReplacedError
    from crewgate.ledger.factory import open_ledger
    from crewgate.ledger.mark_file import find_ledger, why_refused, write_mark

    config = load(config_path)
    known, why = None, ""
    try:
        known = known_with_table(config.state)
        if known is not None:
            why = why_refused(config.ledger, known, find_ledger(config.ledger))
    except LedgerReplacedError as error:  # the mark itself cannot be read
        why = str(error)
    if not why:
        _print(as_json, known, "", "This is the ledger that this machine knows: nothing to accept.")
        return
    ledger = open_ledger(config.ledger)
    try:
        holder = holder_name(config)
        _, count = ledger.heartbeats().get(holder, (b"", 0))
        term = max(int(time.time()), known.term + 1 if known else 0)
        mark = LedgerMark(ledger.identity, holder, count, term)
    finally:
        ledger.close_session()
    write_mark(config.state, mark)
    _print(as_json, mark, why, f"Accepted, though {why}. `crewgate serve` goes on with it.")


def _print(as_json: bool, mark: "LedgerMark | None", why: str, text: str) -> None:  # noqa: FBT001 - private
    if as_json:
        document = {
            "accepted": bool(why),
            "why": why,
            "ledger": mark.ledger if mark else None,
            "holder": mark.holder if mark else None,
            "operations": mark.count if mark else None,
        }
        click.echo(json.dumps(document))
    else:
        click.echo(text, err=True)
