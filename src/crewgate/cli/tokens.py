"""Reads a token from an argument or standard input, and prints a token."""

import json
import sys

import click

from crewgate import limits
from crewgate.core.tokens.claims import Claims


def read_token(argument: str) -> str:
    """Return the token; "-" reads it from standard input, because `ps` shows arguments."""
    text = sys.stdin.read(16 * limits.token_bytes_max) if argument == "-" else argument
    return text.strip()


def show_token(token: str, claims: Claims, *, as_json: bool) -> None:
    """Print the token and nothing else, or a JSON document with its branch, grant and end."""
    document = {
        "token": token,
        "branch": claims.execution_branch_id,
        "grant": claims.jti,
        "expires": claims.exp,
    }
    click.echo(json.dumps(document) if as_json else token)
