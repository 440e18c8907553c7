"""Who sees an account between two crews over the control API: the crew whose calls made it."""

from crewgate.api.access import sees
from crewgate.core.identity import Identity, Role

INSTANCE = bytes(16)


def test_an_account_belongs_to_the_crew_that_calls() -> None:
    """Not to the one that is called; operators see everything."""
    bd = Identity(Role.ORCHESTRATOR, "bd-1", INSTANCE, "bd")
    finance = Identity(Role.ORCHESTRATOR, "finance-1", INSTANCE, "finance")
    operator = Identity(Role.OPERATOR, "ada", INSTANCE)
    seen = [sees(caller, "bd:finance") for caller in (bd, finance, operator)]
    assert seen == [True, False, True]
    assert not sees(bd, "finance:bd")
