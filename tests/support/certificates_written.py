"""Certificates as the register keeps them, for its tests."""

from crewgate.ca.certificate_db import CertificateRecord
from crewgate.core.x509.certificate import serial_text
from crewgate.core.x509.identity_extension import Role

NOW = 1_800_000_000


def entry(number: int, name: str = "bd-1", *, end: int = NOW + 3600) -> CertificateRecord:
    """A certificate of that serial."""
    return CertificateRecord(
        serial=serial_text(number), role=Role.ORCHESTRATOR, crew="bd", name=name,
        instance=bytes(16),
        not_before=NOW - 300, not_after=end, issued=NOW, pem=f"PEM {number}",
    )  # fmt: skip
