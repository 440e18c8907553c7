"""Tokens as commands take them, from an argument or standard input, and print them."""

import json
import sys

import click

from crewgate import limits
from crewgate.core.tokens.claims import Claims


def read_token(argument: str) -> str:
    """The token, from standard input where the argument is "-" (arguments show in `ps`)."""
    text = sys.stdin.read(16 * limits.token_bytes_max) if argument == "-" else argument
    return text.strip()


def show_token(token: str, claims: Claims, *, as_json: bool) -> None:
    """The token and nothing else, or a document with what a script needs beside it."""
    document = {
        "token": token,
        "branch": claims.execution_branch_id,
        "grant": claims.jti,
        "expires": claims.exp,
    }
    click.echo(json.dumps(document) if as_json else token)
