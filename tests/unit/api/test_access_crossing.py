"""Who sees an account between two crews over the control API: the crew whose calls made it."""

from crewgate.api.access import sees
from crewgate.api.branch_tree_snapshot import BranchTreeSnapshot
from crewgate.api.schemas import BranchResponse
from crewgate.core.x509.identity_extension import Identity, Role

INSTANCE = bytes(16)


def test_an_account_belongs_to_the_crew_that_calls() -> None:
    """Not to the one that is called; operators see everything."""
    bd = Identity(Role.ORCHESTRATOR, "bd-1", INSTANCE, "bd")
    finance = Identity(Role.ORCHESTRATOR, "finance-1", INSTANCE, "finance")
    operator = Identity(Role.OPERATOR, "ada", INSTANCE)
    seen = [sees(caller, "bd:finance") for caller in (bd, finance, operator)]
    assert seen == [True, False, True]
    assert not sees(bd, "finance:bd")


def test_its_rows_are_among_those_of_that_crew() -> None:
    """Found by either name in a view of the tree, and in nobody else's."""
    own, account, other = (
        BranchResponse(crew=crew, branch=f"{crew}-1", state="live")
        for crew in ("bd", "bd:finance", "finance")
    )
    snapshot = BranchTreeSnapshot([own, account, other])
    assert list(snapshot.of("bd")) == [own, account]
    assert list(snapshot.of("finance")) == [other]
    assert list(snapshot.of("bd:finance")) == [account]
    assert snapshot.find("bd:finance-1", "bd") == [account]
    assert snapshot.find("bd:finance-1", "finance") == []
