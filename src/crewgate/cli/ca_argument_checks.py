"""The arguments of `crewgate ca`: checks files, serial numbers and host names.

The functions sign and write nothing.
"""

import os
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click
import msgspec

from crewgate.ca.certificate_db import CertificateDB, CertificateRecord
from crewgate.config.values import HOST_NAME
from crewgate.core.x509.certificate import serial_text
from crewgate.core.x509.identity_extension import Role
from crewgate.errors import CAError

# A certificate that names hosts and no holder, so it has no `Role`.
SERVER_ROLE = "server"


class IssueOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `crewgate ca issue`; `life` is in seconds."""

    role: str | None
    crew: str
    name: str | None
    out: Path | None
    life: int | None
    hosts: tuple[str, ...]
    rights: tuple[str, ...]
    signing_key: Path | None
    request: Path | None
    token: str | None

    def __repr__(self) -> str:
        """Return a text without the token."""
        return f"<IssueOptions of role {self.role}>"

    def required(self) -> tuple[Role, str, Path]:
        """Return the three values that a new certificate needs; UsageError if one is None."""
        if self.role is None or self.name is None or self.out is None:
            values = {"--role": self.role, "--name": self.name, "--out": self.out}
            missing = next(option for option, value in values.items() if value is None)
            raise click.UsageError(f"Missing option '{missing}'.")
        if self.token is not None:
            raise click.UsageError("--token is only for --role agent")
        if self.signing_key is not None and self.role != Role.GATEWAY:
            raise click.UsageError("--signing-key is only for --role gateway")
        return Role(self.role), self.name, self.out

    def required_for_branch(self) -> tuple[str, Path]:
        """Return token and prefix of a branch's certificate; UsageError for another option."""
        if self.crew or self.name or self.hosts or self.rights or self.signing_key:
            raise click.UsageError(
                "--role agent goes only with --token, --request, --life and --out: the token says "
                "crew, name and branch"
            )
        if self.token is None or self.out is None:
            missing = "--out" if self.token else "--token"
            raise click.UsageError(f"Missing option '{missing}'.")
        return self.token, self.out

    def required_for_server(self) -> tuple[tuple[str, ...], Path]:
        """Return hosts and prefix of a server's certificate; UsageError for another option."""
        rest = self.crew, self.name, self.rights, self.signing_key, self.request, self.token
        if any(rest):
            raise click.UsageError("--role server goes only with --host, --life and --out")
        if not self.hosts or self.out is None:
            missing = "--out" if self.hosts else "--host"
            raise click.UsageError(f"Missing option '{missing}'.")
        return self.hosts, self.out


def with_suffix(prefix: Path, ending: str) -> Path:
    """Return the file PREFIX.ending; CAError if PREFIX is a folder."""
    if not prefix.name or prefix.name == "..":
        raise CAError(f"{prefix}: a folder, and not a PREFIX; add a name")
    return prefix.with_name(f"{prefix.name}.{ending}")


def require_absent(*paths: Path) -> None:
    """Raise CAError if a file exists, or if its folder does not."""
    for path in paths:
        if os.path.lexists(path):
            raise CAError(f"{path}: exists already, and is not overwritten")
        if not os.path.isdir(path.parent):  # noqa: PTH112 - Path.is_dir may raise
            raise CAError(f"{path.parent}: no such folder")


def host_names(hosts: Sequence[str]) -> list[Any]:
    """Return the x509 names of a gateway's hosts; CAError for text that is not a host."""
    from cryptography import x509

    found: list[Any] = []
    for host in hosts:
        try:
            found.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            found.append(x509.DNSName(_dns_name(host)))
    return found


def _dns_name(host: str) -> str:
    """Return a DNS name (RFC 5280, section 4.2.1.6), but no wildcard: it names many gateways."""
    try:
        return HOST_NAME.read(host).removesuffix(".")
    except ValueError as error:
        raise CAError(
            f"--host {host!r}: expected a DNS name or an IP address, without a port"
        ) from error


def find(register: CertificateDB, which: str) -> CertificateRecord:
    """Return the record of a certificate, named by its file or serial; CAError if unknown.

    A file must hold exactly the issued certificate. Its serial alone is no proof, because anyone
    can make a certificate with any serial.
    """
    from crewgate.ca.certificates import pem
    from crewgate.ca.key_files import read_certificates

    path, text, serial = Path(which), "", which
    if path.suffix or os.path.lexists(path):
        certificate = read_certificates(path)[0]
        text, serial = pem(certificate).decode(), serial_text(certificate.serial_number)
    entry = register.find(serial)
    if entry is None or (text and text != entry.pem):
        raise CAError(
            f"{which}: this CA has not issued such a certificate; see `crewgate ca list --all`"
        )
    return entry
