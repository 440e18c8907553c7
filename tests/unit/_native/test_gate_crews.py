"""Crew BD cannot drain, zero, re-parent or revoke a branch of crew Finance, whatever it signs.

BD knows every id of Finance's, and its own key signs whatever it likes. Seen and unseen; Finance's
branch named as BD's own branch, as its ancestor, and as the target of its revocation.
"""

from typing import Any

import msgspec
import pytest
from crew_world import BRANCH, CREW, PARENT, ROOT, World
from gate_world import Gatehouse

from crewgate._native.records import BranchRecord
from crewgate.core import ids
from crewgate.core.ids import EntityKind, uuid_bytes
from crewgate.core.reasons import Reason

FINANCE, BD = "finance", "bd"
SEARCH = 0
OWN = "0199c1d2-0000-7000-8000-0000000000bd"
LEVELS = (ROOT, PARENT, BRANCH)


@pytest.fixture
def house() -> Gatehouse:
    return Gatehouse(World.make(crews=(CREW, FINANCE, BD), quota_max=2_000))


@pytest.fixture(params=["seen", "unseen"])
def seen(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "seen")


def finance_token(house: Gatehouse, seen: bool) -> bytes:
    """A token of Finance's branch of 100, below 500, below 1000; spent 10 of it if it is seen."""
    token = house.world.mint(FINANCE, **path((ROOT, 1000), (PARENT, 500)), credit_quota=100)
    if seen:
        house.permit(token).settle()
    return token


def path(*levels: tuple[str, int], iat: int | None = None) -> dict[str, Any]:
    return {
        "branch_path": [
            {"id": branch, "credit_quota": quota} | ({} if iat is None else {"iat": iat})
            for branch, quota in levels
        ]
    }


def standing(house: Gatehouse, seen: bool) -> list[BranchRecord]:
    """Finance's records."""
    return [house.record(branch, FINANCE) for branch in LEVELS] if seen else []


def spend_all(house: Gatehouse, token: bytes) -> int:
    """Calls that BD makes until it is refused."""
    calls = 0
    while house.reason(token) is None:
        house.permit(token).settle()
        calls += 1
    return calls


def check_untouched(house: Gatehouse, token: bytes, before: list[BranchRecord], seen: bool) -> None:
    """Finance's records stand as they stood, and its branch spends what it could before."""
    assert standing(house, seen) == before
    assert spend_all(house, token) == (9 if seen else 10)
    denial = house.denial(token)
    assert (denial.level, denial.used_micro, denial.quota_micro) == (BRANCH, 100, 100)


@pytest.mark.parametrize("target", LEVELS)
def test_bd_cannot_drain_finance(house: Gatehouse, seen: bool, target: str) -> None:
    """Spending on a branch with the same id is spending on BD's own branch."""
    token = finance_token(house, seen)
    before = standing(house, seen)
    assert spend_all(house, house.world.mint(BD, execution_branch_id=target, branch_path=[])) == 200
    check_untouched(house, token, before, seen)


@pytest.mark.parametrize("target", LEVELS)
def test_bd_cannot_drain_finance_from_below(house: Gatehouse, seen: bool, target: str) -> None:
    """Naming Finance's branch as an ancestor charges an account of BD's with that name."""
    token = finance_token(house, seen)
    before = standing(house, seen)
    below = house.world.mint(BD, execution_branch_id=OWN, **path((target, 50)))
    assert spend_all(house, below) == 5
    assert house.denial(below).level == target
    check_untouched(house, token, before, seen)


@pytest.mark.parametrize("target", LEVELS)
@pytest.mark.parametrize("place", ["own branch", "ancestor"])
def test_bd_cannot_zero_finance(house: Gatehouse, seen: bool, target: str, place: str) -> None:
    """A newer grant of nothing governs BD's branch of that id only."""
    token = finance_token(house, seen)
    before = standing(house, seen)
    newer = house.world.now + 1
    if place == "own branch":
        claims = {"execution_branch_id": target, "credit_quota": 0, "branch_path": []}
    else:
        claims = {"execution_branch_id": OWN, **path((target, 0), iat=newer)}
    zero = house.world.mint(BD, iat=newer, **claims)
    assert house.reason(zero) is Reason.CREDITS_EXHAUSTED
    check_untouched(house, token, before, seen)


def test_bd_cannot_re_parent_finance(house: Gatehouse, seen: bool) -> None:
    """A path is fixed when the branch is first seen: BD's word about it is about BD's branch."""
    token = finance_token(house, seen)
    before = standing(house, seen)
    moved = house.world.mint(BD, **path((OWN, 10)))
    assert house.reason(moved) is None
    check_untouched(house, token, before, seen)


def test_bd_cannot_keep_finance_out_by_being_first(house: Gatehouse) -> None:
    """Whoever opens an id first opens it for itself: Finance's path is still Finance's to say."""
    for target in LEVELS:
        house.permit(house.world.mint(BD, execution_branch_id=target, **path((OWN, 10)))).settle(0)
    check_untouched(house, finance_token(house, seen=False), [], seen=False)


@pytest.mark.parametrize("target", LEVELS)
def test_bd_cannot_revoke_finance(house: Gatehouse, seen: bool, target: str) -> None:
    """A revocation is entered under the crew of who asks; it kills BD's branch of that id."""
    token = finance_token(house, seen)
    before = standing(house, seen)
    house.revoke(EntityKind.BRANCH, uuid_bytes(target), crew=BD)
    house.lessor.close(ids.branch_key(BD, target))
    own = house.world.mint(BD, execution_branch_id=target, branch_path=[])
    assert house.reason(own) is Reason.BRANCH_REVOKED
    check_untouched(house, token, before, seen)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (EntityKind.GRANT, b"grant-x"),
        (EntityKind.PROCESS, b"pid_7729"),
        (EntityKind.ORCHESTRATOR, b"article/article-1"),
        (EntityKind.KEY, b"finance-1"),
        (EntityKind.CREW, b""),
    ],
)
def test_no_other_revocation_of_bd_s_reaches_finance(
    house: Gatehouse, kind: EntityKind, name: bytes
) -> None:
    """Grant ids, processes, orchestrators and keys are names within a crew, too."""
    token = house.world.mint(FINANCE, jti="grant-x")
    house.revoke(kind, name, crew=BD)
    assert house.reason(token) is None


def test_bd_cannot_pass_for_finance(house: Gatehouse) -> None:
    """Neither by its crew claim nor under Finance's kid."""
    claims = house.world.claims(crew=FINANCE)
    payload = msgspec.json.encode(claims)
    assert house.reason(house.world.sign(payload, BD)) is Reason.WRONG_ISSUER
    assert house.reason(house.world.sign(payload, BD, kid="finance-1")) is Reason.INVALID_TOKEN
