"""A CA in a folder of a test, and the moment at which everything happens."""

from datetime import UTC, datetime
from pathlib import Path

from crewgate.config import CAConfig

NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)


def ca_in(folder: Path, passphrase: str | None = None) -> CAConfig:
    """A CA that is not made yet; its folders are there."""
    (folder / "ca").mkdir(mode=0o700)
    file = None
    if passphrase is not None:
        file = folder / "passphrase"
        file.write_text(passphrase)
        file.chmod(0o600)
    return CAConfig(
        folder / "ca", folder / "ca.pem", folder / "crl.pem", "x.example", passphrase_file=file
    )
