"""The units of deploy/systemd: systemd accepts them, and they fit what `crewgate init` writes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from crewgate.cli.commands.init import write_all
from crewgate.config import load

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
PROGRAM = "/opt/crewgate/.venv/bin/crewgate"
# Of 100; a service without any protection has 96.
EXPOSURE_MAX = 20

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Copies whose program is installed here."""
    found = []
    for unit in sorted(UNITS.iterdir()):
        text = unit.read_text()
        copy = tmp_path / unit.name
        copy.write_text(text.replace(PROGRAM, "/bin/true"))
        found.append(copy)
    return found


@needs_systemd
def test_systemd_knows_every_key_and_value(units: list[Path]) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_the_service_is_well_confined(units: list[Path]) -> None:
    service = next(unit for unit in units if unit.suffix == ".service")
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}"]
    done = subprocess.run(
        [*command, service], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout[-200:]


def test_the_socket_unit_has_the_listeners_of_init(tmp_path: Path) -> None:
    lines = (UNITS / "crewgate.socket").read_text().splitlines()
    places = [line.removeprefix("ListenStream=") for line in lines if line.startswith("Listen")]
    config = load(write_all(tmp_path / "gateway", 8443))
    assert config.control is not None
    listeners = *config.listeners, config.control
    assert places == [f"{each.address}:{each.port}" for each in listeners]
