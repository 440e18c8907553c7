"""`crewgate mint`: signs a token for a new branch and prints it.

The journal of commands gets a line for each token. The line has no token, only its claims.
"""

import os
import time
from pathlib import Path
from typing import Any

import click

from crewgate import limits
from crewgate.cli.options import (
    CREDITS,
    CREW_NAME,
    TOOL_NAME,
    json_option,
    reason_option,
    ttl_option,
)
from crewgate.cli.remote.option import with_remote
from crewgate.cli.tokens import MintOptions, binding_options, read_token, show_token
from crewgate.core.credits import format_credits
from crewgate.errors import BranchRevokedError, IssuerError
from crewgate.issuer.branches.branch_issuer import BranchRequest
from crewgate.issuer.branches.command_issuer import CommandIssuer, person
from crewgate.issuer.branches.local_gateway import LocalGateway, minter_of
from crewgate.issuer.journal.journal_entries import GrantWay
from crewgate.issuer.parent_tokens import VerifiedToken, verify_token


@click.command("mint")
@with_remote("mint")
@click.option("--crew", type=CREW_NAME, required=True, help="Crew whose key signs the token.")
@click.option("--role", required=True, help="What the sub-agent does, such as researcher.")
@click.option(
    "--tools",
    type=TOOL_NAME,
    required=True,
    multiple=True,
    help="Tool or pattern such as search.*; repeat it, or separate several with commas.",
)
@click.option(
    "--credits",
    "quota",
    required=True,
    type=CREDITS,
    help="Credits of the branch, such as 2.50.",
)
@click.option(
    "--parent", metavar="TOKEN", help="Token of the parent branch; - reads it from stdin."
)
@ttl_option
@click.option("--name", help="Name of the orchestrator within the crew (default: CREW-1).")
@click.option("--process", help="Name of the process that will hold the token.")
@binding_options
@click.option(
    "--subject",
    metavar="TEXT",
    help="On whose behalf the run acts, unproven (default: the orchestrator itself).",
)
@click.option(
    "--subject-token",
    metavar="PATH",
    help="File with an identity provider's token that says on whose behalf; - for stdin.",
)
@reason_option
@json_option
def command(*, config_path: Path, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Sign a token for a new branch and print it.

    Without --parent, the token starts a run. No gateway has to run. `crewgate journal` shows
    each token that was minted so.
    """
    options = MintOptions(**given)
    options.check_subject()
    crew = options.crew
    config, minter = minter_of(config_path, crew, options.name)
    issuer = CommandIssuer(config, minter, options.ttl)
    request = BranchRequest(
        role=options.role,
        tools=options.tool_names,
        quota=options.quota,
        process_id=options.process or f"pid_{os.getppid()}",
        binding=options.binding(),
        subject=options.subject,
        subject_token=options.read_subject_token(),
        overcommit=options.parent is not None,
        reason=options.reason,
        way=GrantWay.COMMAND,
        decided_by=person(),
    )
    if options.parent is None:
        minted = issuer.start_run(request)
    else:
        from crewgate.policy.loader import crew_keys

        above = verify_token(read_token(options.parent), crew_keys(config.crew(crew)), crew)
        check_alive(config.state, above)
        minted = issuer.spawn(above.claims, request)
        click.echo(
            "note: `mint` does not check that all children of the parent together stay within its "
            f"{format_credits(above.claims.credit_quota)} credits; Orchestrator.spawn does",
            err=True,
        )
    life = minted.claims.exp - minted.claims.iat
    if options.ttl is not None and life < options.ttl:
        click.echo(f"note: tokens of role {options.role} live for at most {life} s", err=True)
    show_token(minted.token, minted.claims, as_json=as_json)


def check_alive(state: Path, shown: VerifiedToken) -> None:
    """Refuse a token if the running gateway here has revoked it, or a branch of its path.

    If no gateway runs here, other gateways refuse a revoked token when it is used. They remember a
    revocation for `limits.revocation_seconds`, so a token that expired too long ago is refused too.

    Raises:
        BranchRevokedError: The branch, or one above it, was revoked.
        IssuerError: The token expired too long ago, or the token itself was revoked.
    """
    claims = shown.claims
    if claims.exp + limits.revocation_seconds / 2 < time.time():
        raise IssuerError("the token expired too long ago; start a new run")
    path = {claims.execution_branch_id, *(element.id for element in claims.branch_path)}
    gateway = LocalGateway(state, claims.crew)
    for branch, known in gateway.usage(path).items():
        if known.is_revoked:
            raise BranchRevokedError(
                f"branch {branch} was revoked: neither it nor a branch below it gets a token"
            )
    if gateway.refuses(claims, shown.kid):
        raise IssuerError(f"token {claims.jti} was revoked: it cannot be used to obtain a new one")
