"""Lists the files of a backup: all that the configuration names, and the state folder.

The list leaves out what a machine makes again: its table and files that belong to the table,
sockets, locks, alerts on their way, and unfinished files. The module opens only folders.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from crewgate.ca.decommission_intents import intent_files
from crewgate.ca.machine_cert_renewal import shown_files
from crewgate.cli.check.permissions import secrets
from crewgate.config import Config
from crewgate.policy.argument_rules_loader import schema_files


class BackupKind(StrEnum):
    """How a file is copied while others write to it."""

    # A database is copied with SQLite's backup API.
    LEDGER = "ledger"
    REGISTER = "register"
    # Writers replace a file, or append to it, so a copy is as long as the file was when opened.
    FILE = "file"
    # The two last are copied only on request.
    KEY = "key"
    AUDIT = "audit"


class BackupItem(NamedTuple):
    """One file; if an `expected` file is missing, the command names it."""

    kind: BackupKind
    path: Path
    expected: bool = True


_MADE_ANEW = re.compile(
    r"table(\..*)?|registry-.*|generation|serving|ledger\.mark|audit-checkpoint|outbox\.sqlite"
    r"|sessions\.json"
    r"|.*\.(new|draft|lock|sock)|.*-(wal|shm)"
)


def inventory(config: Config) -> list[BackupItem]:
    """Return each file once, the ledger first, so that no other file is older than the ledger."""
    found: dict[Path, BackupItem] = {}
    for item in _all(config):
        found.setdefault(item.path, item)
    return list(found.values())


def _all(config: Config) -> Iterator[BackupItem]:
    if config.ledger.file is not None:
        yield BackupItem(BackupKind.LEDGER, config.ledger.file)
    if config.ca is not None:
        # The intents come before the register and the state. If an intent is completed meanwhile,
        # the register and the state in the backup have its result.
        for path in intent_files(config.ca.folder):
            yield BackupItem(BackupKind.FILE, path, expected=False)
    for secret in secrets(config):
        # The root key belongs on another medium, and nothing that runs needs it.
        is_root_key = config.ca is not None and secret.path == config.ca.root_key
        yield BackupItem(BackupKind.KEY, secret.path, expected=not is_root_key)
    yield from _state(config)
    if config.ca is not None:
        yield BackupItem(BackupKind.REGISTER, config.ca.register)
    yield BackupItem(BackupKind.FILE, config.path)
    for path in _named(config):
        yield BackupItem(BackupKind.FILE, path)
    if config.audit.folder.is_dir():
        # The checkpoints come first: a file may only be longer than they say.
        logs = sorted(config.audit.folder.glob("checkpoints-*.log"))
        for path in [*logs, *sorted(config.audit.folder.glob("*.jsonl*"))]:
            yield BackupItem(BackupKind.AUDIT, path, expected=False)


def _named(config: Config) -> Iterator[Path]:
    yield from (crew.jwks for crew in config.crews)
    yield from (path for each in config.identity_providers for path in each.files)
    yield from schema_files(config)
    yield from (each.certificate for each in shown_files(config))
    yield from (each.tls.ca for each in (*config.clients, *config.alerts) if each.tls.ca)
    if config.ca is not None:
        yield from (config.ca.root, config.ca.issuing, config.ca.crl)


def _state(config: Config) -> Iterator[BackupItem]:
    """Yield the files of the state folder: journals, capsules, members, the machine's name."""
    apart = {config.ledger.file, *(path for path in [config.ca and config.ca.register] if path)}
    for path in sorted(config.state.rglob("*")):
        if path.is_symlink() or not path.is_file() or path in apart:
            continue
        if path.is_relative_to(config.audit.folder) or _MADE_ANEW.fullmatch(path.name):
            continue
        yield BackupItem(BackupKind.FILE, path, expected=False)
