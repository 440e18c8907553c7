"""Tools that break the rules of HTTP beside callers whose answers are checked: `make isolation`."""

import pytest
from isolation import PHASES, Phase, run


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
async def test_no_caller_meets_what_a_tool_got_wrong_for_another(phase: Phase) -> None:
    """Each way once: every checked caller has its own answers, and none is refused."""
    found = await run(phase, calls=1, callers=8)
    assert (found.wrong, found.refused, [*found.waits()]) == ([], [], [])
    assert found.is_good
    assert len(found.seconds) >= 8
    assert found.asked >= 50
