"""`crewgate audit verify`: whether the audit is as the machine has signed it."""

import re
from functools import partial
from pathlib import Path

import click

from crewgate.cli.options import config_above, config_option, json_option
from crewgate.config.load import load

_KEY = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


@click.command("verify")
@partial(config_option, required=False)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Verify a copy of an audit folder, for which --key is needed.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="KEY",
    help="A public key that the machine had, as this command prints it; may be repeated. By "
    "default, the key of this machine.",
)
@json_option
@click.pass_context
def verify(
    context: click.Context,
    /,
    *,
    config_path: Path | None,
    folder: Path | None,
    keys: tuple[str, ...],
    as_json: bool,
) -> None:
    """Verify that no line of the audit was changed, removed or inserted since it was signed.

    While it serves, the gateway signs every few seconds what the audit files of its machine hold.
    Other machines keep some of its checkpoints: if it runs, it asks them. Exit status 1: something
    is not as it was signed; or nothing was signed.
    """
    from crewgate.audit.checkpoints.log import newest_checkpoints
    from crewgate.audit.checkpoints.signing_key import CheckpointKey
    from crewgate.audit.checkpoints.verification import verify as verified
    from crewgate.cli import held_checkpoints
    from crewgate.cli.output import audit_verification

    if not all(map(_KEY.fullmatch, keys)):
        raise click.UsageError("--key has 43 characters of A-Z a-z 0-9 _ -")
    held = held_checkpoints.NONE
    is_pruned = is_copy = folder is not None
    others: list[Path] = []
    if folder is not None:
        if not keys:
            raise click.UsageError("--folder needs --key, the public key of the machine")
    else:
        config = load(config_above(context, config_path))
        folder = config.audit.folder
        keys = keys or (CheckpointKey.load(config.state).public,)
        is_pruned = config.audit.keep_bytes is not None
        held = held_checkpoints.ask(config)  # before the log is read, which goes on meanwhile
        others = [Path(each) for each in newest_checkpoints(config.state)]
    report = verified(
        folder, keys, held.checkpoints, is_pruned=is_pruned, is_copy=is_copy, others=others
    )
    audit_verification.show(report, folder, keys, held, as_json=as_json)
    if not (report.is_whole and report.checkpoints):
        context.exit(1)
