"""`crewgate audit verify`: whether the audit is as the machine has signed it."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from crewgate.cli.options import config_above, config_option, json_option
from crewgate.config.load import load

if TYPE_CHECKING:
    from crewgate.audit.checkpoints.verification import VerificationReport
    from crewgate.cli.held_checkpoints import HeldCheckpoints
    from crewgate.config import Config

_KEY = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


@click.command("verify")
@partial(config_option, required=False)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Verify a copy of an audit folder, or an archive, for which --key is needed.",
)
@click.option(
    "--archive",
    "receiver",
    metavar="NAME",
    help="Verify the archive to which [export.NAME] ships the audit.",
)
@click.option(
    "--machine", metavar="NAME", help="The machine of an archive; by default, this machine."
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
    receiver: str | None,
    machine: str | None,
    keys: tuple[str, ...],
    as_json: bool,
) -> None:
    """Verify that no line of the audit was changed, removed or inserted since it was signed.

    While it serves, the gateway signs every few seconds what the audit files of its machine hold.
    Other machines keep some of its checkpoints: if it runs, it asks them. Exit status 1: something
    is not as it was signed; or nothing was signed.
    """
    from crewgate.cli.output import audit_verification

    if not all(map(_KEY.fullmatch, keys)):
        raise click.UsageError("--key has 43 characters of A-Z a-z 0-9 _ -")
    if folder is None:
        found = _configured(load(config_above(context, config_path)), receiver, machine, keys)
    elif receiver is not None:
        raise click.UsageError("give either --folder or --archive")
    elif not keys:
        raise click.UsageError("--folder needs --key, the public key of the machine")
    else:
        found = _copy(folder, machine, keys)
    report = found.report
    audit_verification.show(report, found.place, found.keys, found.held, as_json=as_json)
    if not (report.is_whole and report.checkpoints):
        context.exit(1)


class _Verified(NamedTuple):
    report: "VerificationReport"
    place: str
    keys: Sequence[str]
    held: "HeldCheckpoints"


def _copy(folder: Path, machine: str | None, keys: Sequence[str]) -> _Verified:
    """Verify a copy of an audit folder, or an archive."""
    from crewgate.audit.checkpoints.verification import verify as verified
    from crewgate.cli import audit_archive, held_checkpoints

    archive = audit_archive.in_folder(folder, machine)
    if archive is None:
        report = verified(folder, keys, is_pruned=True, is_copy=True)
    else:
        report = audit_archive.verified(archive, keys, ())
    return _Verified(report, str(folder), keys, held_checkpoints.NONE)


def _configured(
    config: "Config", receiver: str | None, machine: str | None, keys: Sequence[str]
) -> _Verified:
    """Verify the audit folder of this machine, or an archive of [export.NAME]."""
    from crewgate.audit.checkpoints.log import newest_checkpoints
    from crewgate.audit.checkpoints.signing_key import CheckpointKey
    from crewgate.audit.checkpoints.verification import verify as verified
    from crewgate.cli import held_checkpoints

    if receiver is not None:
        return _configured_archive(config, receiver, machine, keys)
    keys = keys or (CheckpointKey.load(config.state).public,)
    held = held_checkpoints.ask(config)  # before the log is read, which goes on meanwhile
    report = verified(
        config.audit.folder,
        keys,
        held.checkpoints,
        is_pruned=config.audit.keep_bytes is not None,
        others=[Path(each) for each in newest_checkpoints(config.state)],
    )
    return _Verified(report, str(config.audit.folder), keys, held)


def _configured_archive(
    config: "Config", receiver: str, machine: str | None, keys: Sequence[str]
) -> _Verified:
    """Verify the archive of a machine to which [export.NAME] ships, by default of this machine."""
    from crewgate.audit.checkpoints.signing_key import CheckpointKey
    from crewgate.cli import audit_archive, held_checkpoints

    archive = audit_archive.of_receiver(config, receiver, machine)
    held = held_checkpoints.NONE
    if archive.machine == audit_archive.own_name(config):
        keys = keys or (CheckpointKey.load(config.state).public,)
        held = held_checkpoints.ask(config)
    elif not keys:
        raise click.UsageError("--machine needs --key, the public key of that machine")
    report = audit_archive.verified(archive, keys, held.checkpoints)
    return _Verified(report, archive.place, keys, held)
