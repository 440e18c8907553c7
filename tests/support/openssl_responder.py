"""`openssl ocsp` as a responder of its own, behind loopback: it knows what an index file says.

The command's own server listens on every address of the machine, so it is run for each request.
"""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

from ocsp_world import Answer, World, write_pair

from crewgate.ca.certificates import CertificateAndKey
from crewgate.core.x509.certificate import serial_text


def openssl_answers(
    folder: Path,
    world: World,
    *known: CertificateAndKey,
    revoked: CertificateAndKey | None = None,
    signer: str = "ocsp",
) -> Answer:
    """A responder that knows these certificates; it signs as the delegate, or as another file."""
    write_pair(folder, "issuing", world.issuing)
    write_pair(folder, "ocsp", world.delegate)
    lines = [_line("V", issued) for issued in known]
    if revoked is not None:
        lines.append(_line("R", revoked))
    (folder / "index.txt").write_text("".join(lines))

    def answer(request: bytes) -> bytes:
        (folder / "request.der").write_bytes(request)
        subprocess.run(
            ["openssl", "ocsp", "-index", folder / "index.txt", "-CA", folder / "issuing.pem",
             "-rsigner", folder / f"{signer}.pem", "-rkey", folder / f"{signer}.key",
             "-reqin", folder / "request.der", "-respout", folder / "response.der", "-nmin", "5"],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        return (folder / "response.der").read_bytes()

    return answer


def _line(letter: str, issued: CertificateAndKey) -> str:
    """One entry, as `openssl ca` writes it."""
    certificate = issued.certificate
    ends = f"{certificate.not_valid_after_utc:%y%m%d%H%M%SZ}"
    when = f"{datetime.now(UTC):%y%m%d%H%M%SZ},keyCompromise" if letter == "R" else ""
    return f"{letter}\t{ends}\t{when}\t{serial_text(certificate.serial_number)}\tunknown\t/CN=x\n"
