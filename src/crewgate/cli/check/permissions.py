"""Finds out who can read or replace the secrets that a configuration names.

A process with the uid of a key's owner can act as the holder of the key. So the keys of the
gateway, of each crew and of the CA need different users. The checks skip missing files.
"""

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from crewgate.ca.machine_cert_renewal import shown_files
from crewgate.config import Config
from crewgate.policy.argument_rules_loader import schema_files


class SecretFile(NamedTuple):
    """A secret file and its holder: the gateway, a crew or the CA."""

    holder: str
    path: Path


def secrets(config: Config) -> list[SecretFile]:
    """Return every secret file that the configuration names."""
    ours: list[Path | None] = [each.key for each in shown_files(config)]
    ours.append(config.cluster.signing_key if config.cluster else None)
    ours += config.ledger.password_file, config.sealing_keys
    ours += [each.credential.file for each in config.upstreams if each.credential]
    ours += [each.secret_file for each in config.exports]
    ours += [each.secret for each in config.alerts]
    ours += [agent.card_key for agent in config.a2a]
    if config.ui is not None and config.ui.login is not None:
        ours.append(config.ui.login.client_secret)
    found = [("the gateway", path) for path in ours]
    found += [(f"crew {crew.name}", crew.signing_key) for crew in config.crews]
    if (ca := config.ca) is not None:
        found += [("the CA", path) for path in (ca.issuing_key, ca.root_key, ca.passphrase_file)]
    return list(dict.fromkeys(SecretFile(holder, path) for holder, path in found if path))


def permission_warnings(config: Config) -> Iterator[str]:
    """Yield each way in which a user can read or replace another one's secret."""
    holders: dict[int, dict[str, Path]] = {}
    # Other checks load these files, and report a mode that lets others read them.
    loaded = {crew.signing_key for crew in config.crews}
    loaded |= {config.cluster.signing_key} if config.cluster else set()
    loaded |= {config.ca.issuing_key} if config.ca else set()
    loaded |= {agent.card_key for agent in config.a2a}
    for secret in secrets(config):
        try:
            status = secret.path.stat()
        except OSError:
            continue
        holders.setdefault(status.st_uid, {}).setdefault(secret.holder, secret.path)
        if secret.path not in loaded:
            yield from _readable(secret, status.st_mode)
        yield from _replaceable(secret.path)
    public = [crew.jwks for crew in config.crews]
    public += [each.tls.ca for each in (*config.clients, *config.alerts) if each.tls.ca]
    public += [path for each in config.identity_providers for path in each.files]
    public += config.ui.files if config.ui else []
    public += [config.path, *schema_files(config)]
    folders = [config.state, config.audit.folder]
    if config.ca is not None:
        folders.append(config.ca.folder)
        public += [config.ca.root, config.ca.crl]
    for path in dict.fromkeys(public):
        yield from _replaceable(path)
    for folder in folders:
        yield from _open(folder)
    for uid, held in holders.items():
        if len(held) > 1:
            parts = " and ".join(f"{holder} ({path})" for holder, path in held.items())
            yield (
                f"{_user(uid)} owns the keys of {parts}: a process of this user can act as each "
                "of them; before crews run code here, make sure that none of it runs as this user"
            )


def _readable(secret: SecretFile, mode: int) -> Iterator[str]:
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield (
            f"{secret.path}: a secret of {secret.holder} that others may read "
            f"(mode {stat.S_IMODE(mode):04o}); chmod 600, and replace it if others may have read it"
        )


def _replaceable(path: Path) -> Iterator[str]:
    """Yield whether others can write the file, or its folder unless that is sticky."""
    try:
        file, folder = path.stat().st_mode, path.parent.stat().st_mode
    except OSError:
        return
    if file & stat.S_IWOTH:
        yield f"{path}: anyone may write it; chmod o-w"
    if folder & stat.S_IWOTH and not folder & stat.S_ISVTX:
        yield f"{path.parent}: anyone may replace {path.name} there; chmod o-w"


def _open(folder: Path) -> Iterator[str]:
    """Yield whether anyone can put another socket, table or audit file into the folder."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        # `serve` creates the folder, for its own user.
        return
    if mode & stat.S_IWOTH:
        yield f"{folder}: anyone may put files there; chmod o-w"


def _user(uid: int) -> str:
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid {uid}"
    return f"{name} (this user)" if uid == os.geteuid() else name
