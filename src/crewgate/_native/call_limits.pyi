"""Counts calls in the limits of a policy; only the gate uses it, and the tests of kills."""

def arm_fault(stores: int) -> bool:
    """Tests: SIGKILL this process just before its `stores`-th store to a limit from now on.

    False in every build but the fault-injection one (CREWGATE_FAULTS=1): nothing happens then.
    """
