"""The stage runs commands as a person would, and tells what they say."""

from pathlib import Path

import pytest

from crewgate.demo.gateway_setup import build
from crewgate.errors import DemoError


async def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    """The one line that a person would see is in the error."""
    stage = await build(tmp_path)
    with pytest.raises(DemoError, match=r"crewgate audit failed \(2\): .*write 30s, 10m"):
        await stage.command("audit", "--since", "yesterday")


async def test_a_status_that_is_expected_is_no_failure(tmp_path: Path) -> None:
    """A gateway that does not run is not ready, and says so with status 2."""
    stage = await build(tmp_path)
    assert b"not ready" in await stage.command("status", good=(0, 2))
    with pytest.raises(DemoError, match=r"crewgate status failed \(2\): not ready"):
        await stage.command("status")
