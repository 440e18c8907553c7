"""`crewgate check` names the tools whose answers cost more than their calls had reserved."""

import os
from pathlib import Path

from audit_records import CHILD, NOON, permit

from crewgate.audit.folder import create
from crewgate.cli.check.observed_overruns import overrun_warnings
from crewgate.cli.commands.init import write_all
from crewgate.config import Config, load
from crewgate.core.audit.json_line import encode

PRICE = 'price = { max = "0.50", response = [{ header = "x-cost", each = "1" }] }'


def _observed(tmp_path: Path) -> Config:
    """A configuration with a priced tool, one of whose calls at 12:00:05 had an overrun."""
    path = write_all(tmp_path / "gate", 8443)
    path.write_text(path.read_text().replace('price = "0.01"', PRICE, 1))
    config = load(path)
    over = permit(5, CHILD, "researcher", "search.web", 500_000, overrun_micro=201_000)
    descriptor, _ = create(config.audit.folder, "worker-1", 1_800_000_000_000_000_000)
    os.write(descriptor, encode(over))
    os.close(descriptor)
    return config


def test_a_change_of_the_configuration_ends_the_warning(tmp_path: Path) -> None:
    """It names the tool, the amount and the key; only calls since the last change count."""
    config = _observed(tmp_path)
    os.utime(config.path, (0, NOON.timestamp()))
    (warning,) = overrun_warnings(config)
    assert warning == (
        'tool."search.web": since this file last changed, answers stated 0.201 credits more than '
        "their calls had reserved; nobody paid these credits, and the gateway ended the branches; "
        "raise `max` in the price of the tool"
    )
    os.utime(config.path, (0, NOON.timestamp() + 6))
    assert not list(overrun_warnings(config))
