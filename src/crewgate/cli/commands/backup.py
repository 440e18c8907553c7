"""`crewgate backup`: a machine's ledger, CA's register, journals and configuration, in one folder.

Reads files alone, so the gateway may run or not. Nothing that is in the backup is older than its
ledger: what is revoked when the command begins is revoked in what is restored.
"""

import json
import socket
import stat
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewgate.cli.options import config_option, json_option

if TYPE_CHECKING:
    from crewgate.cli.backup.files import BackedUpFile, BackedUpLedger, BackupManifest
    from crewgate.cli.backup.inventory import BackupItem
    from crewgate.config import Config


@click.command("backup")
@config_option
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--with-keys", is_flag=True, help="Private keys and credentials too.")
@click.option("--with-audit", is_flag=True, help="The audit's files too.")
@json_option
def command(
    *, config_path: Path, folder: Path, with_keys: bool, with_audit: bool, as_json: bool
) -> None:
    """Copy all that this machine would be lost without into a new folder.

    DIR is made, or is empty, and is for your eyes alone. It gets the ledger as it stands at one
    moment, the CA's register, what the machine remembers (revocations, quarantines, members, the
    orchestrators' journals), the configuration and every file that this names. The gateway may be
    running. Keys are copied with --with-keys alone: then whoever reads DIR is this machine, and its
    CA. A ledger in PostgreSQL is not copied: use pg_dump. `crewgate restore` puts it all back.
    """
    from crewgate.config.load import load
    from crewgate.errors import BackupError
    from crewgate.runtime.durable_files import describe

    config = load(config_path)
    try:
        manifest = write_backup(config, folder, with_keys=with_keys, with_audit=with_audit)
    except OSError as error:
        raise BackupError(describe(error)) from error
    size = sum(each.bytes for each in manifest.files)
    if as_json:
        found = {"backup": str(folder), "files": len(manifest.files), "bytes": size}
        click.echo(json.dumps({**found, "left_out": manifest.left_out}))
        return
    click.echo(f"Backed up {len(manifest.files)} files, {size} bytes, to {folder}.", err=True)
    for line in manifest.left_out:
        click.echo(f"not in it: {line}", err=True)


def write_backup(
    config: "Config", folder: Path, *, with_keys: bool = False, with_audit: bool = False
) -> "BackupManifest":
    """Copy everything, the manifest last: a folder that has one is whole. BackupError, OSError."""
    import msgspec

    from crewgate.cli.backup.files import FORMAT, MANIFEST, BackupManifest, place_of, sync_all
    from crewgate.cli.backup.inventory import CopyMethod, inventory
    from crewgate.errors import BackupError
    from crewgate.runtime.durable_files import create_file, make_folder

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder}: not an empty folder; a backup overwrites nothing")
    make_folder(folder, 0o700, parents=True)
    folder.chmod(0o700)
    home = config.path.parent
    saved: list[BackedUpFile] = []
    left_out: list[str] = []
    kept_back = 0
    for item in inventory(config):
        if item.kind == CopyMethod.AUDIT and not with_audit:
            kept_back += 1
            continue
        try:
            done = _save(item, folder, place_of(item.path, home), with_keys=with_keys)
        except FileNotFoundError:
            if item.expected:
                left_out.append(f"{item.path}: it is not there")
            continue
        if done is None:
            left_out.append(f"{item.path}: a key (--with-keys)")
        else:
            saved.append(done)
    if kept_back:
        left_out.append(f"{config.audit.folder}: {kept_back} files of the audit (--with-audit)")
    if config.ledger.file is None:
        left_out.append(f"{config.ledger}: a server's; back it up with pg_dump")
    manifest = BackupManifest(
        format=FORMAT,
        version=version("crewgate"),
        made=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        host=socket.gethostname(),
        folder=str(home),
        config=config.path.name,
        state=place_of(config.state, home),
        with_keys=with_keys,
        with_audit=with_audit,
        ledger=_ledger(config, folder),
        files=saved,
        folders=_folders(saved, home),
        left_out=left_out,
    )
    sync_all(folder)
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    create_file(folder / MANIFEST, data + b"\n", 0o600)
    return manifest


def _save(
    item: "BackupItem", folder: Path, place: str, *, with_keys: bool
) -> "BackedUpFile | None":
    """None for a key that is not asked for. BackupError, OSError."""
    from crewgate.cli.backup.files import (
        BackedUpFile,
        copy_database,
        copy_file,
        is_secret,
        make_folders,
    )
    from crewgate.cli.backup.inventory import CopyMethod

    mode = stat.S_IMODE(item.path.stat().st_mode)
    is_database = item.kind in {CopyMethod.LEDGER, CopyMethod.REGISTER}
    is_key = item.kind == CopyMethod.KEY or (not is_database and is_secret(item.path))
    if is_key and not with_keys:
        return None
    target = folder / place
    make_folders(target.parent)
    if is_database:
        size, digest = copy_database(item.path, target)
    else:
        size, digest = copy_file(item.path, target, 0o600)
    return BackedUpFile(place, item.kind.value, size, digest, mode)


def _ledger(config: "Config", folder: Path) -> "BackedUpLedger":
    """Of a copy how far it is; of a server what this machine knew of it."""
    import msgspec

    from crewgate.cli.backup.files import BackedUpLedger, place_of
    from crewgate.config import LedgerConfig
    from crewgate.ledger.mark_file import find_ledger, read_mark

    known, file = read_mark(config.state), config.ledger.file
    found = BackedUpLedger(str(config.ledger), is_copied=False)
    if known is not None:
        parts = known.ledger, known.holder, known.count, known.term
        found = BackedUpLedger(str(config.ledger), False, *parts)  # noqa: FBT003 - of a struct
    if file is None:
        return found
    book = find_ledger(LedgerConfig("sqlite", folder / place_of(file, config.path.parent)))
    if book is None:
        return found
    count = book.counts.get(found.holder, 0)
    return msgspec.structs.replace(found, is_copied=True, ledger=book.ledger, count=count)


def _folders(saved: "list[BackedUpFile]", home: Path) -> dict[str, int]:
    """The modes of the folders below the configuration's that anything was copied from."""
    from crewgate.cli.backup.files import place_of, target_of

    found = {}
    for each in saved:
        for folder in target_of(each.path, home).parents:
            if folder != home and folder.is_relative_to(home):
                found[place_of(folder, home)] = stat.S_IMODE(folder.stat().st_mode)
    return found
