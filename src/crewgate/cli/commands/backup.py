"""`crewgate backup`: copies the ledger, CA register, state and configuration of a machine.

The command only reads files, so the gateway may run or not. It copies the ledger first, so nothing
in a backup is older than its ledger. A revocation from before the backup is in force after a
restore.
"""

import socket
import stat
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from crewgate.cli.backup import files
from crewgate.cli.backup.inventory import BackupItem, BackupKind, inventory
from crewgate.cli.options import FOLDER, config_option, json_option, print_result
from crewgate.config import Config, LedgerConfig
from crewgate.config.load import load
from crewgate.errors import BackupError
from crewgate.runtime.durable_files import create_file, describe, make_folder
from crewgate.runtime.secret_file import shown_path
from crewgate.version import __version__


@click.command("backup")
@config_option
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--with-keys", is_flag=True, help="Also copy private keys and credentials.")
@click.option("--with-audit", is_flag=True, help="Also copy the audit files.")
@json_option
def command(
    *, config_path: Path, folder: Path, with_keys: bool, with_audit: bool, as_json: bool
) -> None:
    """Copy everything that this machine cannot make again into a new folder.

    DIR must be new or empty; only your user can read it. It gets a consistent copy of the ledger,
    the CA's register of certificates, the state folder (revocations, quarantines, members, journals
    of orchestrators), the configuration and every file that the configuration names. The gateway
    may run.

    Without --with-keys, no key is copied. With it, anyone who can read DIR can act as this machine
    and as its CA. A ledger in PostgreSQL is not copied: use pg_dump. `crewgate restore` restores
    the backup.
    """
    config = load(config_path)
    try:
        manifest = write_backup(config, folder, with_keys=with_keys, with_audit=with_audit)
    except OSError as error:
        raise BackupError(describe(error)) from error
    size = sum(each.bytes for each in manifest.files)
    document = {"backup": str(folder), "files": len(manifest.files), "bytes": size}
    lines = [f"Backed up {len(manifest.files)} files, {size} bytes, to {folder}."]
    lines += [f"not backed up: {line}" for line in manifest.left_out]
    document |= {"left_out": manifest.left_out}
    print_result(document, "\n".join(lines), as_json=as_json, err=True)


def write_backup(
    config: Config, folder: Path, *, with_keys: bool = False, with_audit: bool = False
) -> files.BackupManifest:
    """Copy everything into `folder`, and return the manifest.

    The manifest is written last: a folder that has one is complete. Raises BackupError or OSError
    if the folder is not empty or a file cannot be copied.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder}: not an empty folder; `backup` overwrites nothing")
    make_folder(folder, 0o700, parents=True)
    folder.chmod(0o700)
    home = config.path.parent
    saved: list[files.BackedUpFile] = []
    left_out: list[str] = []
    audit_files = 0
    for item in inventory(config):
        if item.kind == BackupKind.AUDIT and not with_audit:
            audit_files += 1
            continue
        try:
            done = _save(item, folder, files.place_of(item.path, home), with_keys=with_keys)
        except FileNotFoundError:
            if item.expected:
                is_key = item.kind == BackupKind.KEY
                place = shown_path(item.path) if is_key else item.path
                left_out.append(f"{place}: no such file")
            continue
        if done is None:
            left_out.append(f"{item.path}: a key; --with-keys copies it")
        else:
            saved.append(done)
    if audit_files:
        left_out.append(
            f"{config.audit.folder}: {audit_files} audit files; --with-audit copies them"
        )
    if config.ledger.file is None:
        left_out.append(f"{config.ledger}: on a server; back it up with pg_dump")
    manifest = files.BackupManifest(
        format=files.FORMAT,
        version=__version__,
        made=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        host=socket.gethostname(),
        folder=str(home),
        config=config.path.name,
        state=files.place_of(config.state, home),
        with_keys=with_keys,
        with_audit=with_audit,
        ledger=_ledger(config, folder),
        files=saved,
        folders=_folders(saved, home),
        left_out=left_out,
    )
    files.sync_all(folder)
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    create_file(folder / files.MANIFEST, data + b"\n", 0o600)
    return manifest


def _save(
    item: BackupItem, folder: Path, place: str, *, with_keys: bool
) -> files.BackedUpFile | None:
    """Copy one file; return None for a key if `with_keys` is false.

    Raises BackupError or OSError if the file cannot be copied.
    """
    mode = stat.S_IMODE(item.path.stat().st_mode)
    is_database = item.kind in {BackupKind.LEDGER, BackupKind.REGISTER}
    is_key = item.kind == BackupKind.KEY or (not is_database and files.is_secret(item.path))
    if is_key and not with_keys:
        return None
    target = folder / place
    files.make_folders(target.parent)
    if is_database:
        size, digest = files.copy_database(item.path, target)
    else:
        size, digest = files.copy_file(item.path, target, 0o600)
    return files.BackedUpFile(place, item.kind.value, size, digest, mode)


def _ledger(config: Config, folder: Path) -> files.BackedUpLedger:
    """Describe the copied ledger by its own counts, or a server's by what this machine knows."""
    from crewgate.ledger.mark_file import find_ledger, read_mark

    mark, file = read_mark(config.state), config.ledger.file
    found = files.BackedUpLedger(str(config.ledger), is_copied=False)
    if mark is not None:
        found = msgspec.structs.replace(
            found, ledger=mark.ledger, holder=mark.holder, count=mark.count, term=mark.term
        )
    if file is None:
        return found
    copied = find_ledger(LedgerConfig("sqlite", folder / files.place_of(file, config.path.parent)))
    if copied is None:
        return found
    count = copied.counts.get(found.holder, 0)
    return msgspec.structs.replace(found, is_copied=True, ledger=copied.ledger, count=count)


def _folders(saved: list[files.BackedUpFile], home: Path) -> dict[str, int]:
    """Return the modes of the copied files' folders, as far as they are below `home`."""
    found = {}
    for each in saved:
        for folder in files.target_of(each.path, home).parents:
            if folder != home and folder.is_relative_to(home):
                found[files.place_of(folder, home)] = stat.S_IMODE(folder.stat().st_mode)
    return found
