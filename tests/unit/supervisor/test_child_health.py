"""A child that keeps ending is reported as a trouble, and no longer as a restart."""

import os
import signal
import sys
import time

from crewgate import limits
from crewgate.core.health import HealthState
from crewgate.supervisor.child import Child


def test_a_child_that_keeps_ending_is_told_of() -> None:
    """Three ends within a minute; and after a minute of peace it is well."""
    child = Child("worker 0", [sys.executable, "-S", "-c", "raise SystemExit(2)"])
    for at in range(limits.health_deaths_max):
        assert child.health(at, refuses=True).state is HealthState.OK
        child.start(at)
        while child.ended(at) is None:
            time.sleep(0.01)
    fact = child.health(limits.health_deaths_max, refuses=True)
    assert (fact.component, fact.state, fact.refuses) == ("worker 0", HealthState.FAILED, True)
    assert "3 times in 3 s; the last one ended with status 2" in fact.why
    later = limits.health_deaths_seconds + 1
    assert child.health(later, refuses=True).state is HealthState.OK


def test_a_child_that_is_told_to_end_is_well() -> None:
    """As the control process at each restart: it starts again at once, however often."""
    child = Child("control", ["sleep", "60"])
    for at in range(limits.health_deaths_max + 1):
        child.start(at)
        child.send(signal.SIGTERM)
        while child.ended(at) is None:
            time.sleep(0.01)
        assert child.due == at
    assert child.health(limits.health_deaths_max, refuses=False).state is HealthState.OK


def test_a_child_that_waits_for_something_is_well_once_it_has_it() -> None:
    """Its ends said that they may pass, and they did."""
    child = Child("agent", [sys.executable, "-S", "-c", f"raise SystemExit({os.EX_TEMPFAIL})"])
    for at in range(limits.health_deaths_max + 1):
        child.start(at)
        while child.ended(at) is None:
            time.sleep(0.01)
    assert child.health(limits.health_deaths_max, refuses=True).state is HealthState.OK
