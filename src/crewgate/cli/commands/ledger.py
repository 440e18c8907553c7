"""`crewgate ledger`: the books of every budget, of one machine or of many.

Reads the ledger itself and the audit's files, so it needs the right to that, and no gateway.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewgate.cli.commands.ledger_accept import command as accept
from crewgate.cli.commands.ledger_report import reconcile, report
from crewgate.cli.options import Subcommands, config_option, json_option
from crewgate.core.credits import format_credits
from crewgate.errors import LedgerUnavailableError

if TYPE_CHECKING:
    from crewgate.config import Config


@click.group("ledger", cls=Subcommands)
def command() -> None:
    """Say what every crew, run and branch has spent, and keep the tables in order."""


@command.command("migrate")
@config_option
@json_option
def migrate(*, config_path: Path, as_json: bool) -> None:
    """Bring the ledger's tables up to date, or make them."""
    from crewgate.ledger import schema
    from crewgate.ledger.factory import open_session

    session = open_session(_load(config_path).ledger)
    try:
        before, after = schema.migrate(session)
    finally:
        session.close()
    if as_json:
        click.echo(json.dumps({"before": before, "after": after}))
    elif before == after:
        click.echo(f"The tables are of version {after}, as this Crewgate needs them.", err=True)
    else:
        click.echo(f"The tables were of version {before} and are of version {after}.", err=True)


@command.command("resume")
@config_option
@json_option
def resume(*, config_path: Path, as_json: bool) -> None:
    """Grant again on a PostgreSQL that has become another one, on your word.

    After a failover it may have forgotten what it granted last: look at `reconcile` first.
    """
    ledger = _load(config_path).ledger
    if ledger.engine != "postgresql":
        raise LedgerUnavailableError(f"{ledger}: a file never becomes another one; nothing to do")
    from crewgate.ledger.durability import accept
    from crewgate.ledger.postgres import PostgreSQL

    session = PostgreSQL(ledger.url, ledger.password_file)
    try:
        timeline = session.use(accept)
    finally:
        session.close()
    if as_json:
        click.echo(json.dumps({"timeline": timeline}))
    else:
        click.echo(f"Timeline {timeline} is taken for the ledger from now on.", err=True)


@command.command("check")
@config_option
@json_option
@click.pass_context
def check(context: click.Context, *, config_path: Path, as_json: bool) -> None:
    """Say whether the books add up; status 1 if they do not."""
    from crewgate.ledger import schema
    from crewgate.ledger.consistency import findings
    from crewgate.ledger.factory import open_session

    session = open_session(_load(config_path).ledger, readonly=True)
    try:
        schema.require_current(session)
        found = list(findings(session))
    finally:
        session.close()
    if as_json:
        click.echo(json.dumps({"ok": not found, "findings": found}))
    for each in [] if as_json else found:
        click.echo(each)
    if not as_json and not found:
        click.echo("Every level is the sum of its leases.", err=True)
    context.exit(1 if found else 0)


@command.command("forgive")
@config_option
@click.argument("branch", metavar="BRANCH")
@click.option("--crew", metavar="CREW", help="Whose it is, if this machine has not seen it.")
@json_option
def forgive(*, config_path: Path, branch: str, crew: str | None, as_json: bool) -> None:
    """Give back what was burned of BRANCH, on your word that nobody spent it.

    Burned is what a machine had leased, or a call had reserved, when it died. It returns to the
    branch and to every level above it; the running gateway's log and audit say so.
    """
    import msgspec

    from crewgate.cli.options import state_of
    from crewgate.ipc.admin_client import AdminClient

    with AdminClient(state_of(config_path)) as owner:
        done = owner.forgive(branch, crew or "")
    if as_json:
        document = msgspec.to_builtins(done)
        click.echo(json.dumps({key: document[key] for key in ("crew", "branch", "amount")}))
    else:
        click.echo(f"{format_credits(done.amount)} credits returned to {branch} of {done.crew}")


def _load(config_path: Path) -> "Config":
    from crewgate.config.load import load

    return load(config_path)


command.add_command(accept)
command.add_command(report)
command.add_command(reconcile)
