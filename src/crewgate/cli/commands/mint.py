"""`crewgate mint`: one token for a new branch, a root or a child, printed and kept nowhere."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewgate import limits
from crewgate.cli.options import CreditsParam, DurationParam, json_option
from crewgate.cli.remote.option import with_remote
from crewgate.cli.tokens import read_token, show_token
from crewgate.errors import BranchRevokedError, IssuerError

if TYPE_CHECKING:
    from crewgate.issuer.parent_tokens import VerifiedToken


@click.command("mint")
@with_remote("mint")
@click.option("--crew", required=True, help="The crew whose key signs.")
@click.option("--role", required=True, help="What the sub-agent does, such as researcher.")
@click.option(
    "--tools",
    required=True,
    multiple=True,
    help="A tool's name or a pattern; may be given again, or several with commas between.",
)
@click.option("--credits", "quota", required=True, type=CreditsParam(), help="Such as 2.50.")
@click.option("--parent", metavar="TOKEN", help="The parent's token; - reads it from stdin.")
@click.option("--ttl", type=DurationParam(), help="Such as 15m; the crew's longest if not given.")
@click.option("--name", help="The orchestrator's name within the crew.")
@click.option("--process", help="What to call the process that will hold the token.")
@json_option
def command(
    *,
    config_path: Path,
    crew: str,
    role: str,
    tools: tuple[str, ...],
    quota: int,
    parent: str | None,
    ttl: int | None,
    name: str | None,
    process: str | None,
    as_json: bool,
) -> None:
    """Sign a token for a new branch and print it.

    Needs no running gateway. Without --parent it starts a new root: a pipeline run.
    """
    from crewgate.issuer.gateway import minter_of

    config, minter = minter_of(config_path, crew, name)
    names = [tool for given in tools for tool in given.replace(",", " ").split()]
    shell = process or f"pid_{os.getppid()}"
    now = time.time()
    if parent is None:
        minted = minter.root(
            role=role, tools=names, quota=quota, process=shell, now=now, lifetime=ttl
        )
    else:
        from crewgate.issuer.parent_tokens import verify_token
        from crewgate.policy.loader import crew_keys

        above = verify_token(read_token(parent), crew_keys(config.crew(crew)), crew)
        check_alive(config.state, above)
        minted = minter.child(
            above.claims, role=role, tools=names, quota=quota, process=shell, now=now, lifetime=ttl
        )
        click.echo(
            "crewgate: no journal is kept here, so it is not checked that the credits of all "
            "children fit in the parent's; Orchestrator.spawn does",
            err=True,
        )
    show_token(minted.token, minted.claims, as_json=as_json)


def check_alive(state: Path, shown: "VerifiedToken") -> None:
    """Refuse a token if a running gateway here has revoked it, or a branch of its path.

    Without a gateway here, the others refuse the token when they meet it. They forget what was
    revoked after `revocation_seconds`, so nobody gets another token for one of before.

    Raises:
        BranchRevokedError: The branch, or one above it, was revoked.
        IssuerError: The token expired too long ago, or was revoked itself.
    """
    from crewgate.issuer.gateway import LocalGateway

    claims = shown.claims
    if claims.exp + limits.revocation_seconds / 2 < time.time():
        raise IssuerError("the token expired too long ago; start a new run")
    path = {claims.execution_branch_id, *(element.id for element in claims.branch_path)}
    gateway = LocalGateway(state, claims.crew)
    for branch, known in gateway.usage(path).items():
        if known.is_revoked:
            raise BranchRevokedError(
                f"branch {branch} is dead: neither it nor any below gets a token"
            )
    if gateway.refuses(claims, shown.kid):
        raise IssuerError(f"grant {claims.jti} was revoked: nobody gets a further token by it")
