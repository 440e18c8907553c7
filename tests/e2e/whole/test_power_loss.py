"""What was acknowledged survives a loss of power: disks cloned under load; see `power_loss`."""

from pathlib import Path

import power_gateway
import pytest
from power_disk import why_not
from power_loss import clones


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a loop device can be mounted."""
    why = why_not(tmp_path)
    if why:
        pytest.skip(why)
    return tmp_path


def test_what_was_acknowledged_is_there_after_a_power_loss(folder: Path) -> None:
    """Members, marks of forgotten ones, journals, capsules, certificates, tokens and the audit."""
    assert clones(folder, 3) == [[], [], []]


def test_without_a_sync_a_power_loss_takes_much(folder: Path) -> None:
    """The test above can fail: a clone lacks what only the kernel's memory had."""
    assert any(clones(folder, 1, synced=False))


def test_a_gateway_on_a_clone_knows_what_it_had_acknowledged(folder: Path) -> None:
    """Revocations, credits and the audit; and its log says what the audit may have lost."""
    assert [*power_gateway.clones(folder, 1, 0.7)] == [[]]
