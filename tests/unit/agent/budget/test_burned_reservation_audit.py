"""Records of burned reservations: whose they were, as far as anybody knows."""

import msgspec
import pytest
from grant_builders import branch_id, grant, key

from crewgate._native.records import BurnedReservation
from crewgate.agent.branch_registry import BranchRegistry
from crewgate.agent.budget.burned_reservation_audit import BurnedReservationAudit
from crewgate.core.audit.records import request_text
from crewgate.core.ids import EntityKind, table_key
from crewgate.core.policy.policy import Policy, ToolPolicy

S = 10**9
GRANT = table_key(EntityKind.GRANT, "article", branch_id(2).encode())


def _burned(**more: object) -> BurnedReservation:
    blank = BurnedReservation(
        branch_key=key(2),
        amount=500,
        state=3,
        cost=0,
        tool=1,
        grant=GRANT,
        request=bytes(range(16)),
        started_ns=100 * S,
        owner=4,
    )
    return blank._replace(**more)  # type: ignore[arg-type]


def _policy(*names: str) -> Policy:
    return Policy("aud", (), (), tuple(ToolPolicy(name, 1) for name in names))


@pytest.fixture
def attribution(registry: BranchRegistry) -> BurnedReservationAudit:
    """Branch 2 below branch 1 is known; the tools were numbered anew at second 50."""
    registry.learn(grant(2, 500, (1, 9000, None)))
    attribution = BurnedReservationAudit(registry)
    attribution.load(_policy("old.a", "old.b"), 0)
    attribution.load(_policy("new.a", "new.b"), 50 * S)
    return attribution


def test_a_known_branch_is_named_in_full(attribution: BurnedReservationAudit) -> None:
    """Crew, role, ancestry, grant, tool, cost and cause."""
    (found,) = attribution.records([_burned()], "owner-died", 200 * S, {})
    assert (found.crew, found.role, found.branch) == ("article", "researcher", branch_id(2))
    assert (found.ancestry, found.grant) == ((branch_id(1),), branch_id(2))
    assert (found.tool, found.cost_micro, found.cause) == ("new.b", 500, "owner-died")
    assert (found.owner, found.intent) == (4, False)
    assert found.time > found.started


def test_a_call_across_the_boundary_names_its_certificate(registry: BranchRegistry) -> None:
    """The crew is the one that called; without the grant's own name, no certificate is known."""
    account = "article:finance"
    crossed = grant(3, 500, crew=account)
    claims = msgspec.structs.replace(crossed.claims, jti="0A1B:77")
    registry.learn(msgspec.structs.replace(crossed, claims=claims))
    attribution = BurnedReservationAudit(registry)
    attribution.load(_policy("new.a", "new.b"), 0)
    own = table_key(EntityKind.GRANT, account, b"0A1B:77")
    burned = [_burned(branch_key=key(3, account), grant=own), _burned(branch_key=key(3, account))]
    named, older = attribution.records(burned, "owner-died", 200 * S, {})
    assert (named.crew, named.branch, named.certificate) == ("article", branch_id(3), "0A1B")
    assert (older.crew, older.certificate) == ("article", "")


def test_a_tool_is_named_by_the_policy_of_its_time(attribution: BurnedReservationAudit) -> None:
    """A call that began before the numbers changed keeps its tool's name."""
    found = attribution.records(
        [_burned(started_ns=49 * S), _burned(started_ns=50 * S), _burned(tool=7)], "deadline", 0, {}
    )
    assert [each.tool for each in found] == ["old.b", "new.b", ""]


@pytest.mark.parametrize(
    ("state", "cost", "expected"),
    [(1, 0, []), (2, 0, [(500, True)]), (3, 0, [(500, False)]), (4, 120, [(120, False)])],
    ids=["claimed", "intent", "held", "settling"],
)
def test_what_is_charged_depends_on_how_far_it_got(
    attribution: BurnedReservationAudit, state: int, cost: int, expected: list[tuple[int, bool]]
) -> None:
    """Nothing was taken yet; perhaps; all of it; what was just being charged."""
    found = attribution.records([_burned(state=state, cost=cost)], "owner-died", 0, {})
    assert [(each.cost_micro, each.intent) for each in found] == expected


@pytest.mark.parametrize(
    ("state", "recorded", "expected"),
    [(3, 500, []), (3, 120, [380]), (3, 0, [500]), (4, 120, []), (4, 700, [])],
)
def test_a_call_with_a_record_is_not_charged_twice(
    attribution: BurnedReservationAudit, state: int, recorded: int, expected: list[int]
) -> None:
    """A worker died after it had written the record, and before it had settled the call."""
    burned = [_burned(state=state, cost=120 if state == 4 else 0)]
    costs = {request_text(bytes(range(16))): recorded}
    found = attribution.records(burned, "owner-died", 0, costs)
    assert [each.cost_micro for each in found] == expected


def test_an_unknown_branch_has_its_keys(attribution: BurnedReservationAudit) -> None:
    """Nobody's name is guessed; an older grant of a known branch is named by its key alone."""
    (unknown, older) = attribution.records(
        [_burned(branch_key=key(9)), _burned(grant=bytes(16))], "owner-died", 0, {}
    )
    assert (unknown.crew, unknown.branch, unknown.branch_key) == ("", "", key(9).hex())
    assert (older.branch, older.grant, older.grant_key) == (branch_id(2), "", bytes(16).hex())
