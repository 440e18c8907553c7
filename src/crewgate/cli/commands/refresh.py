"""`crewgate refresh`: signs the next token of a branch, and can give it more.

The journal of commands gets a line for each token. The line has no token, only its claims.
"""

from pathlib import Path
from typing import Any

import click

from crewgate.cli.commands.mint import check_alive
from crewgate.cli.options import (
    CREDITS,
    DURATION,
    TOOL_NAME,
    json_option,
    reason_option,
    ttl_option,
)
from crewgate.cli.remote.option import with_remote
from crewgate.cli.tokens import RefreshOptions, binding_options, read_token, show_token


@click.command("refresh")
@with_remote("refresh")
@click.argument("token")
@ttl_option
@click.option(
    "--credits",
    "quota",
    type=CREDITS,
    help="Credits of the branch in all, also those that it has spent (default: unchanged).",
)
@click.option(
    "--tools",
    type=TOOL_NAME,
    multiple=True,
    help="Tools in place of the present ones; repeat it, or separate several with commas.",
)
@click.option(
    "--time",
    type=DURATION,
    help="If the branch was minted with an end: let it end so much later, such as 1h.",
)
@binding_options
@reason_option
@json_option
def command(*, config_path: Path, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Sign the next token of a branch and print it.

    TOKEN is the last token of the branch, expired or not; - reads it from standard input. Without
    other options, the branch keeps its tools, its credits and the key that it is bound to. The
    limits of extensions of the crew hold. `crewgate journal` shows each token that was minted so.
    """
    from crewgate.issuer.branches.branch_issuer import GrantChange
    from crewgate.issuer.branches.command_issuer import CommandIssuer, person
    from crewgate.issuer.branches.local_gateway import minter_of
    from crewgate.issuer.inspection import read_claims
    from crewgate.issuer.journal.journal_entries import GrantWay
    from crewgate.issuer.parameters import whole_seconds
    from crewgate.issuer.parent_tokens import verify_token
    from crewgate.policy.loader import crew_keys

    options = RefreshOptions(**given)
    text = read_token(options.token)
    crew = read_claims(text).crew
    config, minter = minter_of(config_path, crew)
    last = verify_token(text, crew_keys(config.crew(crew)), crew)
    check_alive(config.state, last)
    change = GrantChange(
        quota=options.quota,
        tools=options.tool_names,
        seconds=whole_seconds(options.time),
        binding=options.binding(),
        overcommit=options.quota is None,  # then the command compares nothing with the siblings
        reason=options.reason,
        way=GrantWay.COMMAND,
        decided_by=person(),
    )
    minted = CommandIssuer(config, minter, options.ttl).refresh(last.claims, change)
    show_token(minted.token, minted.claims, as_json=as_json)
