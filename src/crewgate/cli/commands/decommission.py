"""`crewgate decommission`: ends an orchestrator with its certificates, tokens, keys and process."""

import json
from pathlib import Path

import click

from crewgate.cli.options import config_option, json_option, print_problems
from crewgate.cli.output.certificates import describe, receipt
from crewgate.cli.output.revocation import NEVER_SEEN
from crewgate.config import load
from crewgate.core.x509.identity_extension import Identity, Role, check
from crewgate.errors import ConfigurationError
from crewgate.ipc.receipt_text import never_seen_lines
from crewgate.lifecycle.orchestrator_decommission import DecommissionResult, decommission


@click.command("decommission")
@config_option
@click.argument("orchestrator", metavar="CREW/NAME")
@json_option
@click.pass_context
def command(ctx: click.Context, *, config_path: Path, orchestrator: str, as_json: bool) -> None:
    """End an orchestrator: its certificates, tokens, keys and process.

    Every token that it has issued until now is revoked, whether a gateway has seen the token or
    not. The intent is on disk before the first step. After a crash, the next `crewgate run` or
    `decommission`, or the control process, completes it.

    Exit status 1: something is left to do; do what the message says, and repeat the command. Exit
    status 4: the orchestrator never had a certificate, key or process here, and no machine that
    answered has seen it; the name may be mistyped.
    """
    from crewgate.ca.authority import new_instance

    config = load(config_path)
    crew, slash, name = orchestrator.partition("/")
    if not slash:
        raise ConfigurationError(f"{orchestrator}: expected CREW/NAME, such as article/{crew}")
    try:
        check(Identity(Role.ORCHESTRATOR, name, new_instance(), crew))
    except ValueError as error:
        raise ConfigurationError(f"{orchestrator}: {error}") from error
    done = decommission(config, crew, name)
    click.echo(_document(done) if as_json else _text(done))
    for complaint in done.complaints:
        print_problems(complaint)
    is_unknown = not (done.issued or done.keys or done.life.pid)
    never_seen = done.told.never_seen if done.told and is_unknown else ""
    if done.told and not as_json:
        for text in never_seen_lines(never_seen, done.told.never_seen_on, done.told.reach.of):
            click.echo(text)
    status = NEVER_SEEN if never_seen else 0
    ctx.exit(status if done.is_complete else 1)


def _document(done: DecommissionResult) -> str:
    found = {
        "orchestrator": done.life.label,
        "complete": done.is_complete,
        "certificates": done.certificates,
        "keys": list(done.keys),
        "process": done.life.pid or None,
    }
    return json.dumps({**found, **receipt(done.told), "complaints": list(done.complaints)})


def _text(done: DecommissionResult) -> str:
    number = done.certificates
    parts = [f"{number} certificate{'' if number == 1 else 's'} revoked"]
    if done.issued and not number:
        parts = ["it had no valid certificate"]
    parts += [f"key {kid} revoked" for kid in done.keys]
    parts += [describe(done.told)]
    parts += [f"process {done.life.pid} ended"] if done.life.pid and done.is_complete else []
    return f"{'ended' if done.is_complete else 'ending'} {done.life.label}: {'; '.join(parts)}"
