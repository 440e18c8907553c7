"""What `crewgate ca` is given: files, serial numbers and hosts, read with words for errors.

Signs and writes nothing.
"""

import os
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from crewgate.config.values import HOST_NAME
from crewgate.errors import AuthorityError

if TYPE_CHECKING:
    from crewgate.ca.certificate_db import CertificateDB, CertificateRecord


def required(role: str | None, name: str | None, out: Path | None) -> tuple[str, str, Path]:
    """What a new certificate cannot be without; UsageError as click words it."""
    for option, value in (("--role", role), ("--name", name), ("--out", out)):
        if value is None:
            raise click.UsageError(f"Missing option '{option}'.")
    return cast("str", role), cast("str", name), cast("Path", out)


def with_suffix(prefix: Path, ending: str) -> Path:
    """The file of a PREFIX; AuthorityError for what is none."""
    if not prefix.name or prefix.name == "..":
        raise AuthorityError(f"{prefix}: a folder is no PREFIX; add a name")
    return prefix.with_name(f"{prefix.name}.{ending}")


def require_absent(*paths: Path) -> None:
    """Before a certificate is signed that nobody could be given."""
    for path in paths:
        if os.path.lexists(path):
            raise AuthorityError(f"{path}: stands there already and is not overwritten")
        if not os.path.isdir(path.parent):  # noqa: PTH112 - raises for no name whatever
            raise AuthorityError(f"{path.parent}: no such folder")


def host_names(hosts: Sequence[str]) -> list[Any]:
    """Names and addresses for a gateway's certificate; AuthorityError."""
    from cryptography import x509

    found: list[Any] = []
    for host in hosts:
        try:
            found.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            found.append(x509.DNSName(_dns_name(host)))
    return found


def _dns_name(host: str) -> str:
    """RFC 5280, section 4.2.1.6; a whole zone (`*.`) would be more than one gateway."""
    try:
        return HOST_NAME.read(host).removesuffix(".")
    except ValueError as error:
        raise AuthorityError(
            f"--host {host!r}: expected a DNS name or an IP address, without a port"
        ) from error


def find(register: "CertificateDB", which: str) -> "CertificateRecord":
    """The certificate of a file or a serial number; AuthorityError.

    A file must be the very certificate: one that a stranger made could have anybody's serial.
    """
    from crewgate.ca.certificates import pem
    from crewgate.ca.key_files import read_certificates
    from crewgate.core.x509.certificate import serial_text

    path, text, serial = Path(which), "", which
    if path.suffix or os.path.lexists(path):
        certificate = read_certificates(path)[0]
        text, serial = pem(certificate).decode(), serial_text(certificate.serial_number)
    entry = register.find(serial)
    if entry is None or (text and text != entry.pem):
        raise AuthorityError(
            f"{which}: this CA has issued no such certificate; `crewgate ca list` shows them"
        )
    return entry
