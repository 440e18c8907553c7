"""`crewgate ledger`: shows and maintains the ledger of one machine, or of many.

Most commands read the ledger itself and the audit files, so they need the rights to do so, and no
running gateway.
"""

from contextlib import closing
from functools import partial
from pathlib import Path

import click

from crewgate.cli import branch_choice
from crewgate.cli.commands.ledger_accept import command as accept
from crewgate.cli.commands.ledger_report import reconcile, report
from crewgate.cli.options import (
    CREW_NAME,
    UntruncatedHelpGroup,
    config_option,
    json_option,
    print_result,
    state_of,
)
from crewgate.config.load import load
from crewgate.errors import LedgerUnavailableError
from crewgate.ipc import receipt_text
from crewgate.ipc.admin_client import AdminClient
from crewgate.ledger import schema
from crewgate.ledger.factory import open_session


@click.group("ledger", cls=UntruncatedHelpGroup)
def command() -> None:
    """Show what each crew, run and branch has spent, and maintain the ledger."""


@command.command("migrate")
@config_option
@json_option
def migrate(*, config_path: Path, as_json: bool) -> None:
    """Create the ledger's tables, or bring them up to date."""
    with closing(open_session(load(config_path).ledger)) as session:
        before, after = schema.migrate(session)
    text = f"Migrated the tables from version {before} to version {after}."
    if before == after:
        text = f"The tables have version {after}, which this Crewgate needs."
    print_result({"before": before, "after": after}, text, as_json=as_json, err=True)


@command.command("resume")
@config_option
@json_option
def resume(*, config_path: Path, as_json: bool) -> None:
    """Resume granting credits after a PostgreSQL failover; you confirm that no grant was lost.

    The new server may lack the last grants: run `crewgate ledger reconcile` first.
    """
    ledger = load(config_path).ledger
    if ledger.engine != "postgresql":
        raise LedgerUnavailableError(
            f"{ledger}: only a PostgreSQL needs `resume`, after a failover; nothing to do"
        )
    from crewgate.ledger.postgresql_session import PostgreSQLSession
    from crewgate.ledger.server_durability_check import accept

    with closing(PostgreSQLSession(ledger.url, ledger.password_file)) as session:
        timeline = session.use(accept)
    text = f"Accepted timeline {timeline} as the ledger; gateways may draw credits again."
    print_result({"timeline": timeline}, text, as_json=as_json, err=True)


@command.command("check")
@config_option
@json_option
@click.pass_context
def check(context: click.Context, *, config_path: Path, as_json: bool) -> None:
    """Check that the sums of the ledger add up; exit status 1 if they do not."""
    from crewgate.ledger.consistency import findings

    with closing(open_session(load(config_path).ledger, readonly=True)) as session:
        schema.require_current(session)
        found = list(findings(session))
    text = "\n".join(found) or "The ledger adds up: every level is the sum of its leases."
    document = {"ok": not found, "findings": found}
    print_result(document, text, as_json=as_json, err=not found)
    context.exit(1 if found else 0)


@command.command("forgive")
@config_option
@click.argument("branch", metavar="BRANCH")
@click.option(
    "--crew",
    type=CREW_NAME,
    metavar="CREW",
    help="Crew of BRANCH, if this machine has not seen it.",
)
@json_option
def forgive(*, config_path: Path, branch: str, crew: str | None, as_json: bool) -> None:
    """Return the burned credits of BRANCH; you confirm that nobody spent them.

    Credits count as burned if the machine that had leased them, or the call that had reserved them,
    ended without a report. They return to the branch and to every level above it. The running
    gateway notes this in its log and audit. BRANCH may be the beginning of an id, or CREW/ROLE for
    the only live branch with this role.
    """
    with AdminClient(state_of(config_path)) as admin:
        try:
            whole = branch_choice.whole_id(branch, crew or "", partial(branch_choice.find, admin))
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        done = admin.forgive(whole, crew or "")
    document = {"crew": done.crew, "branch": done.branch, "amount": done.amount}
    print_result(document, "\n".join(receipt_text.of_forgiving(done)), as_json=as_json)


command.add_command(accept)
command.add_command(report)
command.add_command(reconcile)
