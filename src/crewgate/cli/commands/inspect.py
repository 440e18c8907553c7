"""`crewgate inspect`: what a token says, for a person; and whether it may be believed."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from crewgate.cli.options import json_option
from crewgate.core.credits import format_credits
from crewgate.core.terminal_text import printable
from crewgate.core.tokens.claims import Claims

NOT_CHECKED = "not checked"


@click.command("inspect")
@click.argument("token")
@click.option(
    "-c",
    "--config",
    "config_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Check the signature with the keys of this configuration.",
)
@json_option
def command(*, token: str, config_path: Path | None, as_json: bool) -> None:
    """Show what a token says.

    TOKEN - reads it from standard input. Without -c the signature is not checked, and anyone may
    have written what is shown.
    """
    from crewgate.cli.tokens import read_token
    from crewgate.issuer.inspection import inspect_token

    text = read_token(token)
    found = inspect_token(text)
    signature = _signature(text, config_path)
    if as_json:
        document = {
            "signature": signature,
            "well_formed": found.claims is not None,
            "bytes": found.bytes,
            "header": found.header,
            "payload": found.payload,
        }
        click.echo(json.dumps(document))
        return
    if found.claims is None:
        click.echo("form          refused by every gateway; as it stands:")
        for line in json.dumps([found.header, found.payload], indent=2).splitlines():
            click.echo(printable(line))
    else:
        for name, value in _explained(found.claims, time.time()):
            click.echo(f"{name:<14}{value}")
    click.echo(f"{'signature':<14}{signature}")


def _signature(text: str, config_path: Path | None) -> str:
    if config_path is None:
        return NOT_CHECKED
    from crewgate.config import load
    from crewgate.issuer.parent_tokens import signing_key_of
    from crewgate.policy.loader import load_keys

    key = signing_key_of(text, load_keys(load(config_path)))
    return "of no key in this configuration" if key is None else f"good, key {key.kid}"


def _explained(claims: Claims, now: float) -> list[tuple[str, Any]]:
    """Lines of (name, value); every text was checked to be plain when the claims were read."""
    path = " > ".join(element.id for element in claims.branch_path)
    return [
        ("branch", claims.execution_branch_id),
        ("below", path or "nothing: the root of a run"),
        ("crew", claims.crew),
        ("orchestrator", claims.client_id),
        ("role", claims.agent_role),
        ("process", claims.process_id),
        ("for", claims.sub),
        ("tools", ", ".join(claims.allowed_tools)),
        ("credits", f"{format_credits(claims.credit_quota)} for the branch and all below it"),
        ("grant", claims.jti),
        ("issued", _moment(claims.iat, now)),
        ("expires", _moment(claims.exp, now)),
        ("issuer", claims.iss),
        ("audience", claims.aud if isinstance(claims.aud, str) else ", ".join(claims.aud)),
    ]


def _moment(seconds: int, now: float) -> str:
    away = round(seconds - now)
    told = f"in {away} s" if away >= 0 else f"{-away} s ago"
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC, {told}"
    except (OverflowError, ValueError):
        return f"{seconds}, beyond any calendar"
