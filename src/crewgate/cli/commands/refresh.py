"""`crewgate refresh`: signs the next token of a branch, with the same tools and credits."""

import time
from pathlib import Path

import click

from crewgate.cli.commands.mint import check_alive
from crewgate.cli.options import json_option, ttl_option
from crewgate.cli.remote.option import with_remote
from crewgate.cli.tokens import read_token, show_token


@click.command("refresh")
@with_remote("refresh")
@click.argument("token")
@ttl_option
@json_option
def command(*, config_path: Path, token: str, ttl: int | None, as_json: bool) -> None:
    """Sign the next token of a branch and print it.

    TOKEN is the last token of the branch, expired or not; - reads it from standard input.
    """
    from crewgate.issuer.inspection import read_claims
    from crewgate.issuer.local_gateway import minter_of
    from crewgate.issuer.parent_tokens import verify_token
    from crewgate.policy.loader import crew_keys

    text = read_token(token)
    crew = read_claims(text).crew
    config, minter = minter_of(config_path, crew)
    last = verify_token(text, crew_keys(config.crew(crew)), crew)
    check_alive(config.state, last)
    minted = minter.extend(last.claims, now=time.time(), lifetime=ttl)
    show_token(minted.token, minted.claims, as_json=as_json)
