"""`crewgate ledger accept`: a person confirms that an older or another ledger counts from now on.

If there is no SQLite file, the command makes an empty ledger. It changes nothing in a ledger that
is there. The gateway of this machine must not run.
"""

import time
from contextlib import closing
from pathlib import Path

import click

from crewgate.cli.options import config_option, json_option, print_result
from crewgate.config.load import load
from crewgate.core.budget.ledger_mark import LedgerMark
from crewgate.errors import LedgerReplacedError


@click.command("accept")
@config_option
@json_option
def command(*, config_path: Path, as_json: bool) -> None:
    """Accept an older copy of the ledger, an empty ledger, or another ledger.

    A gateway refuses to start on such a ledger, because the ledger lacks what was spent since. With
    this command you confirm that these credits can be spent again; in an empty ledger, every budget
    begins again. Credits that this machine had leased count as burned. Revoked branches stay
    revoked. `crewgate ledger reconcile` shows the costs that the audit has and the ledger lacks.

    End `crewgate serve` first. If several machines share the ledger, run the command on each of
    them.
    """
    from crewgate.agent.budget.ledger_mark_keeper import known_with_table
    from crewgate.agent.table_setup import holder_name
    from crewgate.ledger.factory import open_ledger
    from crewgate.ledger.mark_file import find_ledger, mark_file, why_refused, write_mark

    config = load(config_path)
    known, found, why = None, None, ""
    try:
        known = known_with_table(config.state)
        if known is not None:
            found = find_ledger(config.ledger)
            why = why_refused(config.ledger, known, found)
    except LedgerReplacedError:
        why = f"{mark_file(config.state)}: the mark of the ledger cannot be read"
    if not why:
        _print(as_json, known, "", "Nothing to accept: this is the ledger that this machine knows.")
        return
    ledger = open_ledger(config.ledger)
    with closing(ledger.session):
        holder = holder_name(config)
        _, count = ledger.heartbeats().get(holder, (b"", 0))
        term = max(int(time.time()), known.term + 1 if known else 0)
        mark = LedgerMark(ledger.identity, holder, count, term)
    write_mark(config.state, mark)
    text = f"Accepted ledger {config.ledger}. Until now, `crewgate serve` refused it: {why}."
    if known is not None and found is None:
        text = (
            f"Accepted: there was no ledger {config.ledger}, and this command has made an empty "
            "one. Every budget begins again. Start `crewgate serve`."
        )
    _print(as_json, mark, why, text)


def _print(as_json: bool, mark: LedgerMark | None, why: str, text: str) -> None:  # noqa: FBT001 - a private function
    document = {
        "accepted": bool(why),
        "why": why,
        "ledger": mark.ledger if mark else None,
        "holder": mark.holder if mark else None,
        "operations": mark.count if mark else None,
    }
    print_result(document, text, as_json=as_json, err=True)
