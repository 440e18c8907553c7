"""Checks that the export process can use what the tables [export.NAME] name."""

import os
from collections.abc import Iterator
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path

from crewgate.config import Config, ExportConfig
from crewgate.errors import ConfigurationError
from crewgate.export.archive.s3_keys_file import read_keys
from crewgate.upstream.credential import credential_field
from crewgate.upstream.tls import verifying_context


def export_errors(config: Config) -> Iterator[str]:
    """Yield what would keep records from a receiver, one line each."""
    for receiver in config.exports:
        try:
            _use(receiver)
        except ConfigurationError as error:
            yield str(error)


def export_warnings(config: Config) -> Iterator[str]:
    """Yield receivers to which a credential goes without TLS over a network."""
    for receiver in config.exports:
        url = receiver.url
        if receiver.credential and url and url.scheme == "http" and not is_here(url.host):
            yield (
                f"export {receiver.name}: `credential` goes to {url.host} without TLS, so others "
                'in the network can read it; write url = "https://…"'
            )


def is_here(host: str) -> bool:
    """Return whether a host is this machine, so that nobody can read on the way to it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _use(receiver: ExportConfig) -> None:
    """Read the files and load the package of a receiver. Raises ConfigurationError."""
    owner = f"export {receiver.name}"
    if receiver.format == "otlp":
        import_module(f"crewgate.export.otlp_{receiver.encoding}")
    if receiver.credential is not None and receiver.credential.file is not None:
        credential_field(owner, receiver.credential)
    if receiver.credentials is not None:
        read_keys(owner, receiver.credentials)
    if receiver.folder is not None:
        _use_folder(owner, receiver.folder)
    url = receiver.url if receiver.bucket is None else receiver.endpoint
    if url is not None and url.scheme == "https":
        verifying_context(owner, receiver.tls, "http/1.1")


def _use_folder(owner: str, folder: Path) -> None:
    """Raise ConfigurationError unless this user can write an archive into a folder."""
    if not folder.is_dir():
        raise ConfigurationError(
            f"{owner}: the folder {folder} is missing; make it, or mount its file system"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"{owner}: user {os.geteuid()} may not write into the folder {folder}; permit it"
        )
