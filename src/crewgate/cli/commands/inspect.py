"""`crewgate inspect`: shows the claims of a token, and whether its signature is good."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from crewgate.cli.options import json_option, print_result
from crewgate.cli.tokens import binding_words
from crewgate.config import load
from crewgate.core.credits import format_credits
from crewgate.core.terminal_text import printable
from crewgate.core.tokens.claims import Claims, process_text

NOT_CHECKED = "not checked"


@click.command("inspect")
@click.argument("token")
@click.option(
    "-c",
    "--config",
    "config_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Verify the signature with the keys of this configuration.",
)
@json_option
def command(*, token: str, config_path: Path | None, as_json: bool) -> None:
    """Show the claims of a token.

    If TOKEN is -, the command reads the token from standard input. Without -c the command does not
    verify the signature, and anyone may have written the claims.
    """
    from crewgate.cli.tokens import read_token
    from crewgate.issuer.inspection import inspect_token

    text = read_token(token)
    found = inspect_token(text)
    signature = _signature(text, config_path)
    document = {
        "signature": signature,
        "well_formed": found.claims is not None,
        "bytes": found.bytes,
        "header": found.header,
        "payload": found.payload,
    }
    lines = ["malformed     every gateway refuses this token; its content:"]
    if found.claims is None:
        content = json.dumps([found.header, found.payload], indent=2)
        lines += map(printable, content.splitlines())
    else:
        lines = [f"{name:<14}{value}" for name, value in _explained(found.claims, time.time())]
    lines.append(f"{'signature':<14}{signature}")
    print_result(document, "\n".join(lines), as_json=as_json)


def _signature(text: str, config_path: Path | None) -> str:
    if config_path is None:
        return NOT_CHECKED
    from crewgate.issuer.parent_tokens import signing_key_of
    from crewgate.policy.loader import load_keys

    key = signing_key_of(text, load_keys(load(config_path)))
    return "of no key in this configuration" if key is None else f"good, key {key.kid}"


def _explained(claims: Claims, now: float) -> list[tuple[str, Any]]:
    """Return (label, value) for each claim; the reader of the claims has checked their texts."""
    path = " > ".join(element.id for element in claims.branch_path)
    return [
        ("branch", claims.execution_branch_id),
        ("parents", path or "none: the root of a run"),
        ("crew", claims.crew),
        ("orchestrator", claims.client_id),
        ("role", claims.agent_role),
        ("process", process_text(claims.process_id, is_proven=claims.process_proven is True)),
        ("subject", claims.sub),
        *([] if claims.act is None else [("actors", " > ".join(claims.act.names))]),
        ("tools", ", ".join(claims.allowed_tools)),
        (
            "credits",
            f"{format_credits(claims.credit_quota)} for the branch and everything below it",
        ),
        ("bound to", " and ".join(binding_words(claims.cnf))),
        ("grant", claims.jti),
        ("issued", _moment(claims.iat, now)),
        ("expires", _moment(claims.exp, now)),
        ("issuer", claims.iss),
        ("audience", claims.aud if isinstance(claims.aud, str) else ", ".join(claims.aud)),
    ]


def _moment(seconds: int, now: float) -> str:
    left = round(seconds - now)
    distance = f"in {left} s" if left > 0 else f"{-left} s ago"
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC, {distance}"
    except (OverflowError, ValueError):
        return f"{seconds} (no date: out of range)"
