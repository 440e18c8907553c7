"""`crewgate restore`: a machine as it was backed up, in a folder that has nothing yet.

Verifies the whole backup, and that nothing is in the way, before it writes anything.
"""

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewgate.cli.options import json_option

if TYPE_CHECKING:
    from crewgate.cli.backup.files import BackedUpFile, BackupManifest


@click.command("restore")
@click.argument("backup", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--keep-existing",
    is_flag=True,
    help="Leave files outside of FOLDER as they are where there are some already.",
)
@json_option
def command(*, backup: Path, folder: Path, keep_existing: bool, as_json: bool) -> None:
    """Put a machine back as `crewgate backup` copied it into DIR.

    FOLDER is made, or is empty, and gets the configuration and what lay below its folder; what lay
    elsewhere goes back to where it was. What was spent after the backup can be spent again: this
    command is your word that the ledger counts. What was revoked after it comes back from the other
    machines, if there are any, before this one admits a call. End the machine that was backed up
    for good: two machines of one name are one too many.
    """
    from crewgate.errors import BackupError
    from crewgate.runtime.durable_files import describe

    try:
        manifest, kept, missing = restore(backup, folder, keep_existing=keep_existing)
    except OSError as error:
        raise BackupError(describe(error)) from error
    config = folder / manifest.config
    if as_json:
        document = {
            "config": str(config),
            "made": manifest.made,
            "kept": [str(path) for path in kept],
            "missing": missing,
        }
        click.echo(json.dumps(document))
        return
    click.echo(f"Restored {config}, as it was at {manifest.made} on {manifest.host}.", err=True)
    for path in kept:
        click.echo(f"left as it is: {path}", err=True)
    for line in missing:
        click.echo(f"missing, so put it there before you serve: {line}", err=True)
    click.echo(f"Next: crewgate check -c {config}", err=True)


def restore(
    backup: Path, folder: Path, *, keep_existing: bool = False
) -> "tuple[BackupManifest, list[Path], list[str]]":
    """The manifest, what was left as it is, and what is to be put back by hand.

    BackupError for a backup that is not whole, or where something is in the way; OSError.
    """
    from crewgate.cli.backup.files import (
        ELSEWHERE,
        copy_file,
        make_folders,
        read_manifest,
        sync_all,
        target_of,
    )
    from crewgate.errors import BackupError
    from crewgate.runtime.durable_files import make_folder, sync_folder

    manifest = read_manifest(backup)
    _require_config(manifest, backup)
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder}: not an empty folder; restore overwrites nothing")
    targets = {saved.path: target_of(saved.path, folder) for saved in manifest.files}
    there = [
        path for place, path in targets.items() if place.startswith(ELSEWHERE) and path.exists()
    ]
    if there and not keep_existing:
        raise BackupError(
            f"{there[0]}: is there already, and restore overwrites nothing; move it away, or say "
            "--keep-existing to go on with it"
        )
    make_folder(folder, 0o755, parents=True)
    for place, mode in sorted(manifest.folders.items()):
        path = target_of(place, folder)
        make_folders(path)
        path.chmod(mode)
    for saved in sorted(manifest.files, key=lambda each: _is_config(each, manifest)):
        target = targets[saved.path]
        if target in there:
            continue
        make_folders(target.parent)
        if _is_config(saved, manifest):  # the last one: a folder that has it is whole
            _settle(manifest, target_of(manifest.state, folder))
        copy_file(backup / saved.path, target, saved.mode)
        sync_folder(target.parent)
    sync_all(folder)
    return manifest, there, _missing(manifest, folder)


def _is_config(saved: "BackedUpFile", manifest: "BackupManifest") -> bool:
    return saved.path == f"within/{manifest.config}"


def _require_config(manifest: "BackupManifest", backup: Path) -> None:
    """BackupError if the configuration is not among what goes into the folder.

    Earlier versions made such a backup where the configuration was named through "..".
    """
    from crewgate.cli.backup.files import ELSEWHERE, MANIFEST
    from crewgate.errors import BackupError

    if any(_is_config(saved, manifest) for saved in manifest.files):
        return
    why = f"{backup / MANIFEST}: names no file within/{manifest.config}, the configuration"
    apart = f"{ELSEWHERE}{os.path.normpath(manifest.folder)}"
    if all(saved.path != f"{apart}/{manifest.config}" for saved in manifest.files):
        raise BackupError(f"{why}; use another backup")
    raise BackupError(
        f"{why}, so nothing would be put into the folder; back the machine up again, or, if it is "
        f"lost, move {backup / apart} to {backup}/within, and write within/ for each {apart}/ in "
        f"{MANIFEST}"
    )


def _settle(manifest: "BackupManifest", state: Path) -> None:
    """Write what is true of a restored machine alone.

    How far its ledger is, and that it may lack revocations that it has acknowledged to others.
    """
    from crewgate.core.budget.ledger_mark import LedgerMark
    from crewgate.gossip.membership_file import demote
    from crewgate.ledger.mark_file import write_mark
    from crewgate.runtime.durable_files import make_folder

    make_folder(state, 0o710, parents=True)
    ledger = manifest.ledger
    if ledger.ledger and ledger.holder:
        term = max(int(time.time()), ledger.term + 1) if ledger.is_copied else ledger.term
        write_mark(state, LedgerMark(ledger.ledger, ledger.holder, ledger.count, term))
    demote(state / "gossip" / "standing")


def _missing(manifest: "BackupManifest", folder: Path) -> list[str]:
    """Files that the configuration names, as it stands now, and that are not there."""
    from crewgate.cli.backup.inventory import inventory
    from crewgate.config.load import load

    config = load(folder / manifest.config)
    return [
        str(item.path) for item in inventory(config) if item.expected and not item.path.exists()
    ]
