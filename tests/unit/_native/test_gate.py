"""The verdict on a token and a tool: every check, in the order of the gate."""

from typing import Any

import msgspec
import pytest
from crew_world import AUDIENCE, BRANCH, CREW, KID, PARENT, ROOT, World
from gate_world import Gatehouse

from crewgate import limits
from crewgate._native.presenter import Presenter
from crewgate.core import ids
from crewgate.core.ids import EntityKind
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial

SEARCH, EMBED, PING, PUBLISH, FINANCE_AUDIT = range(5)
UNKNOWN = -1
OTHER = "0199c1d2-0000-7000-8000-0000000000aa"
LEEWAY = limits.leeway_seconds


@pytest.fixture
def world() -> World:
    return World.make()


@pytest.fixture
def house(world: World) -> Gatehouse:
    return Gatehouse(world)


def test_a_good_token_for_an_allowed_tool_is_permitted(house: Gatehouse) -> None:
    """The permit carries the grant, the price, and what the lease has left."""
    permit = house.permit(house.world.token)
    assert (permit.tool, permit.price_micro, permit.observed_reason) == (SEARCH, 10, None)
    assert permit.grant.branch == BRANCH
    assert permit.grant.kid == KID
    assert permit.grant.parent == PARENT
    assert permit.grant.orchestrator == f"{CREW}/article-1"
    assert permit.lease_remaining_micro == house.record().available
    permit.settle()


def test_the_grant_names_everything_by_the_crew_s_keys(house: Gatehouse) -> None:
    """Branch and path are keys of the crew whose key verified the token, as core makes them."""
    permit = house.permit(house.world.token, PING)
    permit.release()
    path = tuple(ids.branch_key(CREW, branch) for branch in (ROOT, PARENT))
    assert permit.grant.branch_key == ids.branch_key(CREW, BRANCH)
    assert permit.grant.path_keys == path
    assert permit.grant.path_digest == ids.path_digest(path)


# Check 3: what a stranger gets, one answer for all.


def test_whatever_is_wrong_with_form_or_signature_is_one_denial(house: Gatehouse) -> None:
    """A stranger learns neither which check failed nor whose token it would have been."""
    world = house.world
    good = world.token
    flipped = good[:-8] + (b"AAAAAAAA" if good[-8:] != b"AAAAAAAA" else b"BBBBBBBB")
    hostile = [
        b"",
        b"a.b.c",
        good + b"=",
        good[:-1],
        b"x" * 5000,
        flipped,
        world.sign(b"{}"),
        world.sign(b'{"iss":"x"}', kid="nobody-1"),
        world.mint(execution_branch_id="00000000-0000-0000-0000-000000000000"),
        world.mint(allowed_tools=["*"]),
        world.mint(jti=None),
    ]
    denials = [house.denial(token, tool) for token in hostile for tool in (SEARCH, UNKNOWN)]
    assert denials == [Denial(Reason.INVALID_TOKEN)] * len(denials)


def test_a_token_of_a_crew_s_key_that_claims_another_crew_is_refused() -> None:
    """The key decides whose token it is, not the claim."""
    house = Gatehouse(World.make(crews=(CREW, "finance")))
    token = house.world.sign(msgspec.json.encode(house.world.claims(crew="finance")), CREW)
    assert house.reason(token) is Reason.WRONG_ISSUER


# Check 4: issuer, audience, times, ceilings.


@pytest.mark.parametrize("claim", ["iat", "nbf", "exp"])
@pytest.mark.parametrize("turns", [1, 2, 59])
def test_a_time_that_wraps_round_64_bits_is_none(house: Gatehouse, claim: str, turns: int) -> None:
    """Compared as nanoseconds, it must not come out as a time that is just good."""
    now = house.world.now
    for at in (now + turns * 2**64 // 10**9, 2**40, limits.time_seconds_max + 1):
        assert house.reason(house.world.mint(**{claim: at})) is Reason.INVALID_TOKEN
    last = limits.time_seconds_max
    assert house.reason(house.world.mint(nbf=last)) is Reason.TOKEN_NOT_YET_VALID
    assert house.reason(house.world.mint(exp=last)) is Reason.TOKEN_LIFETIME


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://elsewhere.example"}, Reason.WRONG_ISSUER),
        ({"crew": "finance"}, Reason.WRONG_ISSUER),
        ({"aud": "https://elsewhere.example"}, Reason.WRONG_AUDIENCE),
        ({"aud": ["https://elsewhere.example"]}, Reason.WRONG_AUDIENCE),
        ({"aud": ["https://elsewhere.example", AUDIENCE]}, None),
    ],
)
def test_issuer_and_audience(
    house: Gatehouse, changes: dict[str, Any], reason: Reason | None
) -> None:
    """A token of another issuer, or for another gateway, is none; a list of audiences may do."""
    payload = msgspec.json.encode(house.world.claims(**changes))
    assert house.reason(house.world.sign(payload)) is reason


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [
        (-LEEWAY - 1, Reason.TOKEN_NOT_YET_VALID),
        (-LEEWAY, None),
        (900 + LEEWAY - 0.001, None),
        (900 + LEEWAY, Reason.TOKEN_EXPIRED),
        (10**6, Reason.TOKEN_EXPIRED),
    ],
)
@pytest.mark.parametrize("warm", [False, True])
def test_times_have_a_leeway_and_are_checked_on_every_hit(
    house: Gatehouse, seconds: float, reason: Reason | None, warm: bool
) -> None:
    """Five seconds for iat and exp, to the instant, also for a token that is in the cache."""
    if warm:
        house.permit(house.world.token).settle()
    house.at(seconds)
    assert house.reason(house.world.token) is reason


@pytest.mark.parametrize(("nbf", "reason"), [(5, None), (6, Reason.TOKEN_NOT_YET_VALID)])
def test_not_before_has_the_same_leeway(house: Gatehouse, nbf: int, reason: Reason | None) -> None:
    """`nbf` is optional and binds when it is there."""
    assert house.reason(house.world.mint(nbf=house.world.now + nbf)) is reason


@pytest.mark.parametrize(
    ("lifetime", "reason"),
    [(900, None), (901, Reason.TOKEN_LIFETIME), (0, Reason.TOKEN_LIFETIME)],
)
def test_a_lifetime_has_a_ceiling_without_leeway(
    house: Gatehouse, lifetime: int, reason: Reason | None
) -> None:
    """From iat to exp it is at most 900 s; a token that never lived is one too."""
    assert house.reason(house.world.mint(exp=house.world.now + lifetime)) is reason


def test_a_crew_s_own_ceilings_hold_whatever_its_key_signs() -> None:
    """Lifetime and depth refuse; a higher quota counts as the ceiling."""
    house = Gatehouse(World.make(lifetime_seconds_max=60, depth_max=1, quota_max=25))
    world = house.world
    assert house.reason(world.token) is Reason.TOKEN_LIFETIME
    short = {"exp": world.now + 60}
    assert house.reason(world.mint(**short)) is Reason.TOKEN_CEILING
    shallow = world.mint(**short, branch_path=[])
    with house.permit(shallow) as permit:
        assert permit.grant.quota == 25


def test_a_key_of_one_orchestrator_signs_for_no_other() -> None:
    """A JWK may name the one orchestrator that it belongs to."""
    world = World.make()
    key = msgspec.structs.replace(world.policy.keys[0], orchestrator="article/article-1")
    world.policy = msgspec.structs.replace(world.policy, keys=(key,))
    house = Gatehouse(world)
    assert house.reason(world.token) is None
    assert house.reason(world.mint(client_id="article/article-2")) is Reason.WRONG_ISSUER


# Check 6: bindings.


def test_a_branch_seen_under_another_path_is_refused(house: Gatehouse) -> None:
    """A branch's path is fixed when it is first seen: nobody moves below a richer parent."""
    world = house.world
    house.permit(world.token).settle()
    rich = [{"id": OTHER, "credit_quota": 2**50, "iat": world.now}]
    moved = world.mint(branch_path=rich)
    assert house.reason(moved) is Reason.BINDING_MISMATCH
    assert house.reason(world.mint(branch_path=[])) is Reason.BINDING_MISMATCH
    assert house.reason(moved, UNKNOWN) is Reason.BINDING_MISMATCH
    assert house.reason(world.token) is None


@pytest.mark.parametrize("peer", [None, CREW])
def test_a_tool_of_one_s_own_crew_needs_no_certificate(house: Gatehouse, peer: str | None) -> None:
    """The certificate is for crossing to another crew."""
    token = house.world.mint(allowed_tools=["publish.post"])
    assert house.reason(token, PUBLISH, presenter=Presenter(peer)) is None


def test_a_tool_of_another_crew_needs_a_certificate_of_one_s_own() -> None:
    """A copied token alone never crosses the boundary; a certificate of another crew neither."""
    house = Gatehouse(World.make(crews=(CREW, "finance")))
    token = house.world.mint(allowed_tools=["audit.read"])
    assert house.reason(token, FINANCE_AUDIT) is Reason.BINDING_MISMATCH
    assert house.reason(token, FINANCE_AUDIT, presenter=Presenter(CREW)) is None
    assert (
        house.reason(token, FINANCE_AUDIT, presenter=Presenter("finance"))
        is Reason.BINDING_MISMATCH
    )
    assert house.reason(token, SEARCH, presenter=Presenter("finance")) is Reason.BINDING_MISMATCH


def test_the_agent_of_a_branch_shows_tokens_of_that_branch_alone(house: Gatehouse) -> None:
    """Whatever else the token names, also in observe mode, and not of another crew's branch."""
    own = ids.branch_key(CREW, BRANCH)
    presenter = Presenter(CREW, branch=own)
    assert house.reason(house.world.token, presenter=presenter) is None
    other = house.world.mint(execution_branch_id=OTHER, cnf=None)
    for token, key in (
        (other, own),
        (house.world.token, ids.branch_key(CREW, OTHER)),
        (house.world.token, ids.branch_key("finance", BRANCH)),
        (house.world.token, bytes(16)),
    ):
        for observe in (False, True):
            verdict = house.gate.decide(
                token, SEARCH, presenter=Presenter(CREW, branch=key), observe=observe
            )
            assert isinstance(verdict, Denial)
            assert verdict.reason is Reason.BINDING_MISMATCH
        assert house.gate.grant_for(token, SEARCH, presenter=Presenter(CREW, branch=key)) is None
    with pytest.raises(ValueError, match="16 bytes"):
        Presenter(CREW, branch=bytes(15))


# Checks 7 and 8: tool and scope.


@pytest.mark.parametrize("tool", [-1, -(2**40), 5, 2**40])
def test_a_number_that_is_no_tool_is_unknown(house: Gatehouse, tool: int) -> None:
    """404, and only after everything that is wrong with the token."""
    assert house.reason(house.world.token, tool) is Reason.UNKNOWN_TOOL
    house.at(10_000)
    assert house.reason(house.world.token, tool) is Reason.TOKEN_EXPIRED


@pytest.mark.parametrize(
    ("patterns", "allowed"),
    [
        (["search.web"], {SEARCH}),
        (["search.*", "free.*"], {SEARCH, PING}),
        (["search", "searc.*", "search.web.*"], set()),
        (["embeddings.create"], {EMBED}),
    ],
)
def test_scope_is_exact_names_and_beginnings(
    house: Gatehouse, patterns: list[str], allowed: set[int]
) -> None:
    """403 for every other tool, however good the credentials."""
    token = house.world.mint(allowed_tools=patterns)
    for tool in (SEARCH, EMBED, PING):
        expected = None if tool in allowed else Reason.TOOL_NOT_ALLOWED
        assert house.reason(token, tool) is expected


def test_the_crew_s_ceiling_of_tools_holds() -> None:
    """A key cannot allow what its crew may not have."""
    world = World.make()
    crew = msgspec.structs.replace(world.policy.crews[0], tools=("embeddings.create",))
    world.policy = msgspec.structs.replace(world.policy, crews=(crew,))
    house = Gatehouse(world)
    assert house.reason(world.token, SEARCH) is Reason.TOOL_NOT_ALLOWED
    assert house.reason(world.token, EMBED) is None


# The order.


def test_the_first_check_that_fails_is_the_one_that_is_told(house: Gatehouse) -> None:
    """Each token has everything wrong from its check on; what is told moves down the table."""
    world = house.world
    house.permit(world.token).settle()
    wrong: dict[str, Any] = {"allowed_tools": ["nothing.here"], "credit_quota": 0}
    wrong |= {"branch_path": []}
    assert house.reason(world.mint(**wrong), UNKNOWN) is Reason.BINDING_MISMATCH
    house.revoke(EntityKind.PROCESS, b"pid_7729")
    assert house.reason(world.mint(**wrong), UNKNOWN) is Reason.BRANCH_REVOKED
    wrong |= {"iat": world.now - 900, "exp": world.now - 10}
    assert house.reason(world.mint(**wrong), UNKNOWN) is Reason.TOKEN_EXPIRED
    wrong |= {"exp": world.now + 10}
    assert house.reason(world.mint(**wrong), UNKNOWN) is Reason.TOKEN_LIFETIME
    wrong |= {"aud": "https://elsewhere.example"}
    assert house.reason(world.mint(**wrong), UNKNOWN) is Reason.WRONG_AUDIENCE
    wrong |= {"iss": "https://elsewhere.example"}
    assert house.reason(world.mint(**wrong), UNKNOWN) is Reason.WRONG_ISSUER
    wrong |= {"sub": "two words"}
    assert house.reason(world.mint(**wrong), UNKNOWN) is Reason.INVALID_TOKEN


def test_scope_is_told_before_credit(house: Gatehouse) -> None:
    """A call that may not be made is not told what it would have cost."""
    token = house.world.mint(credit_quota=0, allowed_tools=["embeddings.create"])
    assert house.reason(token, SEARCH) is Reason.TOOL_NOT_ALLOWED
    assert house.reason(token, EMBED) is Reason.CREDITS_EXHAUSTED
