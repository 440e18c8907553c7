"""`crewgate restore`: restores a machine from a backup into a new or empty folder.

Before the command writes anything, it verifies the whole backup, and that no file is in the way.
"""

import os
import time
from pathlib import Path

import click

from crewgate.cli.backup import files
from crewgate.cli.backup.inventory import inventory
from crewgate.cli.options import FOLDER, json_option, print_result
from crewgate.config.load import load
from crewgate.core.budget.ledger_mark import LedgerMark
from crewgate.errors import BackupError
from crewgate.runtime.durable_files import describe, make_folder, sync_folder


@click.command("restore")
@click.argument("backup", metavar="DIR", type=FOLDER)
@click.argument("folder", metavar="FOLDER", type=FOLDER)
@click.option(
    "--keep-existing",
    is_flag=True,
    help="Keep files outside of FOLDER that exist already.",
)
@json_option
def command(*, backup: Path, folder: Path, keep_existing: bool, as_json: bool) -> None:
    """Restore a machine from a backup.

    DIR is a backup of `crewgate backup`. FOLDER must be new or empty. It gets the configuration,
    and the files that were below the folder of the configuration. Other files go back to their old
    paths.

    With this command you confirm that credits that were spent after the backup can be spent again.
    If there are other machines, this one gets later revocations from them before it accepts a call.
    Without other machines, later revocations are lost: branches that you revoked after the backup
    are live again, and their tokens can be refreshed. Revoke these branches again right after the
    start. Never run the old machine again: both would use one name.
    """
    try:
        manifest, kept, missing = restore(backup, folder, keep_existing=keep_existing)
    except OSError as error:
        raise BackupError(describe(error)) from error
    config = folder / manifest.config
    document = {
        "config": str(config),
        "made": manifest.made,
        "kept": [str(path) for path in kept],
        "missing": missing,
    }
    lines = [f"Restored {config} from the backup of {manifest.made} on {manifest.host}."]
    lines += [f"kept: {path}" for path in kept]
    lines += [f"missing, put it back before you start the gateway: {line}" for line in missing]
    lost = (
        f"The backup has no revocation and no quarantine after {manifest.made}. If no other "
        "machine of the cluster has them, branches that you revoked since then are live again: "
        "revoke them again right after the start."
    )
    lines += [lost, f"Next: crewgate check -c {config}"]
    print_result(document, "\n".join(lines), as_json=as_json, err=True)


def restore(
    backup: Path, folder: Path, *, keep_existing: bool = False
) -> tuple[files.BackupManifest, list[Path], list[str]]:
    """Restore a backup; return its manifest, the paths that were kept, and those still missing.

    Raises BackupError if the backup is incomplete or changed, or if a file is in the way, and
    OSError if a file cannot be written.
    """
    manifest = files.read_manifest(backup)
    _require_config(manifest, backup)
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder}: not an empty folder; `restore` overwrites nothing")
    targets = {saved.path: files.target_of(saved.path, folder) for saved in manifest.files}
    existing = [
        path
        for place, path in targets.items()
        if place.startswith(files.ELSEWHERE) and path.exists()
    ]
    if existing and not keep_existing:
        raise BackupError(
            f"{existing[0]}: exists already, and `restore` overwrites nothing; move it away, or "
            "keep it with --keep-existing"
        )
    make_folder(folder, 0o755, parents=True)
    for place, mode in sorted(manifest.folders.items()):
        path = files.target_of(place, folder)
        files.make_folders(path)
        path.chmod(mode)
    for saved in sorted(manifest.files, key=lambda each: _is_config(each, manifest)):
        target = targets[saved.path]
        if target in existing:
            continue
        files.make_folders(target.parent)
        if _is_config(saved, manifest):
            # The configuration comes last: a folder that has one is complete.
            _write_marks(manifest, files.target_of(manifest.state, folder))
        files.copy_file(backup / saved.path, target, saved.mode)
        sync_folder(target.parent)
    files.sync_all(folder)
    return manifest, existing, _missing(manifest, folder)


def _is_config(saved: files.BackedUpFile, manifest: files.BackupManifest) -> bool:
    return saved.path == f"within/{manifest.config}"


def _require_config(manifest: files.BackupManifest, backup: Path) -> None:
    """Raise BackupError if the backup has no configuration for the new folder.

    Earlier versions made such a backup if the configuration was named through "..".
    """
    if any(_is_config(saved, manifest) for saved in manifest.files):
        return
    why = f"{backup / files.MANIFEST}: names no file within/{manifest.config}, the configuration"
    apart = f"{files.ELSEWHERE}{os.path.normpath(manifest.folder)}"
    if all(saved.path != f"{apart}/{manifest.config}" for saved in manifest.files):
        raise BackupError(f"{why}; use another backup")
    raise BackupError(
        f"{why}, so `restore` would put nothing into the folder; back the machine up again; if it "
        f"is lost, move {backup / apart} to {backup}/within, and write within/ for each {apart}/ "
        f"in {files.MANIFEST}"
    )


def _write_marks(manifest: files.BackupManifest, state: Path) -> None:
    """Write the two marks of a restored machine into its state folder.

    The first says how many operations its ledger has counted. The second says that the machine may
    lack revocations that it acknowledged to others after the backup.
    """
    from crewgate.gossip.quorum_view_file import demote
    from crewgate.ledger.mark_file import write_mark

    make_folder(state, 0o710, parents=True)
    ledger = manifest.ledger
    if ledger.ledger and ledger.holder:
        term = max(int(time.time()), ledger.term + 1) if ledger.is_copied else ledger.term
        write_mark(state, LedgerMark(ledger.ledger, ledger.holder, ledger.count, term))
    demote(state / "gossip" / "standing")


def _missing(manifest: files.BackupManifest, folder: Path) -> list[str]:
    config = load(folder / manifest.config)
    return [
        str(item.path) for item in inventory(config) if item.expected and not item.path.exists()
    ]
